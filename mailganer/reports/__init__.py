"""Campaign reports: numbers, time series, recipients and explanations, for pages and the API."""

from .campaign_timeline import TimelineBucket
from .delivery_timeline import delivery_timeline
from .explanation import Explanation, ExplanationContext, why_address, why_email, why_subscriber
from .explanation_steps import ExplanationCode, ExplanationStep
from .reasons import delivery_sentence
from .recipients import Filters, OpenFilter, recipients_csv, recipients_page
from .report import campaign_report, links

__all__ = [
    "Explanation",
    "ExplanationCode",
    "ExplanationContext",
    "ExplanationStep",
    "Filters",
    "OpenFilter",
    "TimelineBucket",
    "campaign_report",
    "delivery_sentence",
    "delivery_timeline",
    "links",
    "recipients_csv",
    "recipients_page",
    "why_address",
    "why_email",
    "why_subscriber",
]
