"""The drill: a whole installation is broken on purpose, and every letter is accounted for."""
