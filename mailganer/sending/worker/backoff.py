"""When an email that was put off is tried again, and when a server that cannot be reached is."""

from datetime import datetime, timedelta

from ...models import Reason

STEPS = (timedelta(minutes=5), timedelta(minutes=15), timedelta(hours=1), timedelta(hours=3))
GIVE_UP_AFTER = timedelta(hours=24)  # a newsletter of the day before yesterday is no news
GIVE_UP_ON_LIMIT_AFTER = GIVE_UP_AFTER + STEPS[-1]
"""For an answer about a day's limit: at the last attempt no email from before it counts any more."""
LEAST_ATTEMPTS = (
    len(STEPS) + 1
)  # a day that its account slept or its campaign was paused is not held against it
LONGEST_WAIT = timedelta(hours=6)  # however long a server asks us to stay away

SERVER_STEPS = (timedelta(seconds=10), timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=10))
"""Pauses after the first, second ... trouble with a server in a row; one more and the sender is failing."""

LONGEST_REST = timedelta(days=1)  # of a sender, whatever its server names

LOOK_AGAIN = timedelta(minutes=30)
"""A failing server (not a refused password) is tried by itself again: a night's outage needs nobody."""

LOOK_UP_AFTER = timedelta(minutes=1)
"""A doubtful email is looked up (``was_accepted``) that long after; servers file emails with some delay."""

LOOK_UP_LAST = timedelta(minutes=10)
"""Not found so long after: the server has certainly not had it."""

LOOK_UP_PAUSE = timedelta(minutes=15)
LOOK_UP_FOR = timedelta(hours=24)
"""A server that cannot be asked is asked again for so long; then the doubt stays until a person ends it."""


def next_attempt(
    attempts: int,
    first_tried_at: datetime,
    now: datetime,
    retry_after: int | None = None,
    give_up_after: timedelta = GIVE_UP_AFTER,
) -> datetime | Reason:
    """When the recipient's next turn is after ``attempts`` tries; ``Reason.expired`` when there is none.

    Nobody expires before every step of the ladder was taken: that alone says that their server was asked over
    hours, whatever kept us from asking.
    """
    wait = STEPS[min(attempts, len(STEPS)) - 1]
    if retry_after is not None:
        wait = min(max(wait, timedelta(seconds=retry_after)), LONGEST_WAIT)
    moment = now + wait
    in_time = moment - first_tried_at < give_up_after
    return moment if in_time or attempts < LEAST_ATTEMPTS else Reason.expired


def requested_delay(retry_after: int | None) -> timedelta:
    """Return how long a server asks a sender to stay away; zero when it names no time."""
    return timedelta(seconds=min(max(retry_after or 0, 0), LONGEST_REST.total_seconds()))


def server_pause(failures: int) -> timedelta | None:
    """How long a sender rests after so many troubles in a row; None: it is failing, a person should look."""
    return SERVER_STEPS[failures - 1] if failures <= len(SERVER_STEPS) else None
