"""Rolling counts of emails sent: how many a sender or an account may still send in 24 hours."""
