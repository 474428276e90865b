"""What a check finds, and what is known after it."""

from dataclasses import dataclass
from enum import StrEnum

from ... import rendering
from ...rendering.email_facts import EmailFacts
from ..forecast import Forecast
from ..variables import VariableUse


class CampaignStep(StrEnum):
    """Where a problem is solved."""

    target = "target"
    email = "email"
    when = "when"
    senders = "senders"
    plan = "plan"
    lists = "lists"  # the people themselves


class Severity(StrEnum):
    blocking = "blocking"  # nothing goes out before this is solved
    warning = "warning"  # readers, or their mail programs, will not like it
    note = "note"  # good to know


@dataclass(frozen=True)
class Problem:
    """One finding. ``step`` says where it is solved and ``action`` what the button there says."""

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
    """What was looked at and is in order, a sentence."""

    message: str


Finding = Problem | PassedCheck


@dataclass(frozen=True)
class Check:
    """What is known about a campaign before it is sent."""

    problems: tuple[Problem, ...]
    audience: int
    variables: tuple[VariableUse, ...]
    forecast: Forecast
    passed: tuple[str, ...]  # what was looked at and is fine, a sentence each
    look: EmailFacts | None = None
    shown: rendering.Rendered | None = None  # as its first reader gets it

    @property
    def ok(self) -> bool:
        return not self.blocking

    @property
    def blocking(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.blocking)

    @property
    def open(self) -> tuple[Problem, ...]:
        """What a person should look at: everything but notes."""
        return tuple(problem for problem in self.problems if problem.severity is not Severity.note)

    @property
    def notes(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.severity is Severity.note)
