"""Findings of a check and its result."""

from dataclasses import dataclass
from enum import StrEnum

from ... import rendering
from ...rendering.email_facts import EmailFacts
from ..forecast import Forecast
from ..variables import VariableUse


class CampaignStep(StrEnum):
    """The page on which a problem is solved."""

    target = "target"
    email = "email"
    when = "when"
    senders = "senders"
    plan = "plan"
    lists = "lists"  # the subscribers


class Severity(StrEnum):
    blocking = "blocking"  # prevents sending
    warning = "warning"  # affects recipients or their email apps
    note = "note"  # for information


@dataclass(frozen=True)
class Problem:
    """A problem. ``step`` is where it is solved, ``action`` the label of the button to it."""

    code: str
    message: str
    severity: Severity
    step: CampaignStep
    action: str
    field: str = ""  # the part of the email
    line: int | None = None

    @property
    def blocking(self) -> bool:
        return self.severity is Severity.blocking


@dataclass(frozen=True)
class PassedCheck:
    """A passed check, as a sentence."""

    message: str


Finding = Problem | PassedCheck


@dataclass(frozen=True)
class Check:
    """Result of the check of a campaign."""

    problems: tuple[Problem, ...]
    audience: int
    variables: tuple[VariableUse, ...]
    forecast: Forecast
    passed: tuple[str, ...]  # sentences of passed checks
    look: EmailFacts | None = None
    shown: rendering.Rendered | None = None  # as its first recipient gets it

    @property
    def ok(self) -> bool:
        return not self.blocking

    @property
    def blocking(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.blocking)

    @property
    def open(self) -> tuple[Problem, ...]:
        """Return the problems a user should look at: all but notes."""
        return tuple(problem for problem in self.problems if problem.severity is not Severity.note)

    @property
    def notes(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.severity is Severity.note)
