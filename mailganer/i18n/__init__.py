"""Languages: the sentences of the program in each of them."""
