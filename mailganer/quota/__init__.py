"""Rolling counts of sent emails: how many a sender or an account may still send within 24 hours."""
