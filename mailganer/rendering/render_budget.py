"""Limits of one rendering, and the budget that is charged while it runs.

Templates and the values of subscribers are untrusted, so a template that is cheap for one recipient can be
too expensive for the next. Every operation that can grow something is bounded by itself, and the sum is
charged to a ``RenderBudget``. The limited process has hard limits of its own; these apply in the worker, too.
"""

from time import monotonic

from jinja2.runtime import Context

from ..errors import EmailError, _

# A subscriber's field; longer ones are refused at import, and here in case they came another way.
FIELD = 10_000
# A text that an expression builds: enough for any paragraph, too little for an attack.
TEXT = 20_000
# What operations read and build altogether in one rendering, in characters; see ``operation_charges``.
WORKED = 4_000_000
# What one rendering may output: email apps clip emails at a tenth of it.
OUTPUT = 1_000_000
# Different variables: each is counted over all recipients when the email is checked.
VARIABLES = 200
# Iterations of loops, calls of macros and items of lists.
STEPS = 50_000
# Wall clock of one rendering. Ordinary emails take less than a thousandth of it.
SECONDS = 1.0
# A source: several times the longest email that email apps show.
SOURCE = 500_000


class RenderTooLarge(EmailError):
    """The email needs more work than one rendering may take."""


class RenderTooSlow(RenderTooLarge):
    """The rendering ran out of time."""


TURNS = _("This email cannot be rendered: its loops repeat too many times.")
SLOW = _("This email cannot be rendered: it takes longer than a second.")
LONG = _("This email cannot be rendered: it is larger than 1 MB.")
LONG_TEXTS = _("This email cannot be rendered: it produces texts that are too long.")
LONG_NUMBERS = _("This email cannot be rendered: it produces numbers that are too long.")
DEEP = _("This email cannot be rendered: it is nested too deeply.")
WORK = _("This email cannot be rendered: it needs too many searches or comparisons.")
MEMORY = _("This email cannot be rendered: it needs too much memory.")
STOPPED = _("This email cannot be rendered: it takes longer than a few seconds.")


def too_slow() -> RenderTooSlow:
    """Return the error for a rendering that ran out of time."""
    return RenderTooSlow(SLOW)


class RenderBudget:
    """What one rendering may still use, and the language its dates are formatted in."""

    __slots__ = ("deadline", "locale", "output", "steps", "worked")

    def __init__(self, locale: str = "en", deadline: float | None = None) -> None:
        """Start a budget. ``deadline`` is a ``monotonic`` time; None means in ``SECONDS``."""
        self.locale = locale
        self.steps = STEPS
        self.worked = WORKED
        self.output = OUTPUT
        self.deadline = monotonic() + SECONDS if deadline is None else deadline

    def step(self, count: int = 1) -> None:
        """Charge for iterations of a loop, or items of a list that was built."""
        self.steps -= count
        if self.steps < 0:
            raise RenderTooLarge(TURNS)
        if monotonic() > self.deadline:
            raise too_slow()

    def charge(self, size: int) -> int:
        """Charge for what an operation is about to read, in characters, and return it."""
        self.worked -= size
        if self.worked < 0:
            raise RenderTooLarge(WORK)
        if monotonic() > self.deadline:
            raise too_slow()
        return size

    def charge_text(self, size: int) -> None:
        """Charge for a text that an operation builds."""
        self.worked -= size
        if self.worked < 0 or size > TEXT * 5:
            raise RenderTooLarge(LONG_TEXTS)
        if monotonic() > self.deadline:
            raise too_slow()

    def charge_output(self, size: int) -> None:
        """Charge for text that is output."""
        self.output -= size
        if self.output < 0:
            raise RenderTooLarge(LONG)
        if monotonic() > self.deadline:
            raise too_slow()


def budget_of(context: Context) -> RenderBudget:
    # From the parent context, which a template's own {% set %} cannot change.
    run: RenderBudget = context.parent["_run"]
    return run
