"""What is planned: draft, check, preview, test, schedule, forecast. Everything before the first letter."""

from ..db import in_transaction
from ..letters import refuse_while
from .check import (
    Check,
    EmailState,
    Problem,
    Readiness,
    Severity,
    check,
    email_state,
    readiness,
    with_unusable,
)
from .drafts import create_draft, delete_draft, duplicate, owned_campaign, update_draft
from .fact import compared, fact, forecast_json, planned
from .moves import cancel, pause, resume, schedule, unschedule
from .overview import count_by_status, list_campaigns
from .preview import preview
from .prospects import forecast
from .trial import prepare_test
from .values import Shared, Values, list_names_of, values_for
from .variables import VariableUse
from .versions import freeze

# Whoever has both a database and templates comes through here.
refuse_while(in_transaction)

__all__ = [
    "Check",
    "EmailState",
    "Problem",
    "Readiness",
    "Severity",
    "Shared",
    "Values",
    "VariableUse",
    "cancel",
    "check",
    "compared",
    "count_by_status",
    "create_draft",
    "delete_draft",
    "duplicate",
    "email_state",
    "fact",
    "forecast",
    "forecast_json",
    "freeze",
    "list_campaigns",
    "list_names_of",
    "owned_campaign",
    "pause",
    "planned",
    "prepare_test",
    "preview",
    "readiness",
    "resume",
    "schedule",
    "unschedule",
    "update_draft",
    "values_for",
    "with_unusable",
]
