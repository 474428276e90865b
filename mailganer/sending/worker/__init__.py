"""One lane (worker slot) of a sender: open a window, send its emails, settle the results."""
