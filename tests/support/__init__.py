"""Real servers for the tests: one small class for each, which starts and stops it."""
