"""Files on their way into a list."""
