"""Back off: when a deferred email is retried, and when an unreachable server is."""

from datetime import datetime, timedelta

from ...models import Reason

STEPS = (timedelta(minutes=5), timedelta(minutes=15), timedelta(hours=1), timedelta(hours=3))
"""Waits after the first, second ... attempt for one recipient; the last one repeats."""

GIVE_UP_AFTER = timedelta(hours=24)  # a newsletter of the day before yesterday is no longer news
GIVE_UP_ON_LIMIT_AFTER = GIVE_UP_AFTER + STEPS[-1]
"""For replies about a daily limit: at the last attempt, emails from before the first no longer count."""

# A recipient does not expire earlier, even if their sender slept or their campaign was paused for a day.
LEAST_ATTEMPTS = len(STEPS) + 1
LONGEST_WAIT = timedelta(hours=6)  # of one recipient, even if the server asks for more

SERVER_STEPS = (timedelta(seconds=10), timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=10))
"""Pauses after the first, second ... consecutive error of a server; after one more the sender is failing."""

LONGEST_REST = timedelta(days=1)  # of a sender, even if its server asks for more

RETRY_FAILING_AFTER = timedelta(minutes=30)
"""A failing sender whose server was unreachable is retried automatically, unlike a refused password."""

LOOK_UP_AFTER = timedelta(minutes=1)
"""Delay until an email in doubt is looked up (``was_accepted``): servers file sent emails with a delay."""

LOOK_UP_LAST = timedelta(minutes=10)
"""An email that is not found this long after sending was certainly not accepted."""

LOOK_UP_PAUSE = timedelta(minutes=15)  # between look-ups while the server is unreachable
LOOK_UP_FOR = timedelta(hours=24)  # then the email stays in doubt until a user decides


def next_attempt(
    attempts: int,
    first_tried_at: datetime,
    now: datetime,
    retry_after: int | None = None,
    give_up_after: timedelta = GIVE_UP_AFTER,
) -> datetime | Reason:
    """Return when to retry a recipient after ``attempts`` attempts, or ``Reason.expired`` to give up.

    No recipient expires before every step was waited for: only then was their server tried over hours, even
    if the sender could not send in between.
    """
    wait = STEPS[min(attempts, len(STEPS)) - 1]
    if retry_after is not None:
        wait = min(max(wait, timedelta(seconds=retry_after)), LONGEST_WAIT)
    retry_at = now + wait
    in_time = retry_at - first_tried_at < give_up_after
    return retry_at if in_time or attempts < LEAST_ATTEMPTS else Reason.expired


def requested_delay(retry_after: int | None) -> timedelta:
    """Return how long a server asks a sender to wait; zero when it names no time."""
    return timedelta(seconds=min(max(retry_after or 0, 0), LONGEST_REST.total_seconds()))


def server_pause(failures: int) -> timedelta | None:
    """Return how long a sender rests after this many consecutive errors; None when it is failing."""
    return SERVER_STEPS[failures - 1] if failures <= len(SERVER_STEPS) else None
