"""Languages: their table, the translator, ready templates and sample data of each."""
