"""Quota: the rolling counts of sent emails, and how many a sender or an account may still send in 24 hours.

``usage`` reads the counts, ``reservations`` changes them, ``rolling_counter`` simulates them. The limits come
from the sender (``accounts.day_limit``) and the plan (``billing.current_plan``).
"""
