"""How much work one letter may be, and the account that is kept while it is rendered.

Templates come from strangers and values from their files, so a template that is cheap for one reader can
be a bomb for the next. Every operation that can grow something is bounded by itself, and what they add up
to is charged to a ``Run``. The child process has harder limits of its own; these hold in the worker too.
"""

from time import monotonic

from jinja2.runtime import Context

from ..errors import LetterError, _

# A subscriber's field; longer ones are refused at import, and here in case they came another way.
FIELD = 10_000
# A text that an expression builds: enough for any paragraph, too little to be a weapon.
TEXT = 20_000
# What operations read and build altogether in one rendering, in characters; see ``charges``.
WORKED = 4_000_000
# What one rendering may print: mail programs cut letters off at a tenth of it.
OUTPUT = 1_000_000
# Different variables: each is counted over all recipients when the email is checked.
VARIABLES = 200
# Turns of loops, calls of macros and items of lists.
STEPS = 50_000
# Wall clock of one rendering. Ordinary letters take less than a thousandth of it.
SECONDS = 1.0
# A source: several times the longest letter that mail programs show.
SOURCE = 500_000


class TooMuch(LetterError):
    """The letter asks for more work than a letter may be."""


class TooSlow(TooMuch):
    """The time of a rendering is over."""


TURNS = _("This letter cannot be put together: its loops turn too often.")
SLOW = _("This letter cannot be put together: it needs more than a second.")
LONG = _("This letter cannot be put together: it is longer than a megabyte.")
LONG_TEXTS = _("This letter cannot be put together: its texts grow too long.")
LONG_NUMBERS = _("This letter cannot be put together: its numbers grow too long.")
DEEP = _("This letter cannot be put together: it is nested too deeply.")
WORK = _("This letter cannot be put together: it takes too many searches or comparisons.")
MEMORY = _("This letter cannot be put together: it needs too much memory.")
STOPPED = _("This letter cannot be put together: it was stopped after a few seconds.")


def too_slow() -> TooSlow:
    """Return the error for a rendering whose time is over."""
    return TooSlow(SLOW)


class Run:
    """The account of one rendering, and the language its dates are written in."""

    __slots__ = ("deadline", "locale", "output", "steps", "worked")

    def __init__(self, locale: str = "en", deadline: float | None = None) -> None:
        """``deadline`` is by ``monotonic``; None: in ``SECONDS``."""
        self.locale = locale
        self.steps = STEPS
        self.worked = WORKED
        self.output = OUTPUT
        self.deadline = monotonic() + SECONDS if deadline is None else deadline

    def step(self, count: int = 1) -> None:
        """Charge for turns of a loop, or items of a list that was made."""
        self.steps -= count
        if self.steps < 0:
            raise TooMuch(TURNS)
        if monotonic() > self.deadline:
            raise too_slow()

    def charge(self, size: int) -> int:
        """Charge for what an operation is about to go through, in characters, and return it."""
        self.worked -= size
        if self.worked < 0:
            raise TooMuch(WORK)
        if monotonic() > self.deadline:
            raise too_slow()
        return size

    def built(self, size: int) -> None:
        """Charge for a text that an operation makes."""
        self.worked -= size
        if self.worked < 0 or size > TEXT * 5:
            raise TooMuch(LONG_TEXTS)
        if monotonic() > self.deadline:
            raise too_slow()

    def printed(self, size: int) -> None:
        """Charge for text that goes into the email."""
        self.output -= size
        if self.output < 0:
            raise TooMuch(LONG)
        if monotonic() > self.deadline:
            raise too_slow()


def run_of(context: Context) -> Run:
    # From the parent, where a template's own {% set %} does not reach.
    run: Run = context.parent["_run"]
    return run
