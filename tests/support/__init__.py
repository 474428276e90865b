"""Real servers for the tests, each a small class that starts, answers and stops."""
