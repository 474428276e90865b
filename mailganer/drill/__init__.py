"""Fault drill: a whole installation is broken on purpose, and every email is accounted for."""
