"""Campaigns before sending: draft, check, preview, test email, schedule, forecast."""

from ..db import in_transaction
from ..rendering import refuse_while
from .actuals import actual_days, compared, forecast_json, planned
from .campaign_forecast import forecast
from .check import (
    Check,
    EmailState,
    Readiness,
    Severity,
    blocking_codes,
    check,
    email_state,
    readiness,
)
from .drafts import create_draft, delete_draft, duplicate, update_draft
from .frozen_emails import freeze
from .overview import count_by_status, list_campaigns
from .preview import preview
from .state_changes import cancel, pause, resume, schedule, unschedule
from .test_email import prepare_test
from .values import CampaignValues, SharedValues, list_names_of, values_for
from .variables import VariableUse

# Any code that uses both a database and templates imports this package.
refuse_while(in_transaction)

__all__ = [
    "CampaignValues",
    "Check",
    "EmailState",
    "Readiness",
    "Severity",
    "SharedValues",
    "VariableUse",
    "actual_days",
    "blocking_codes",
    "cancel",
    "check",
    "compared",
    "count_by_status",
    "create_draft",
    "delete_draft",
    "duplicate",
    "email_state",
    "forecast",
    "forecast_json",
    "freeze",
    "list_campaigns",
    "list_names_of",
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
]
