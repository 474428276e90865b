"""Campaign reports: numbers, time series, recipients and explanations, for pages and the API."""

from .campaign_timeline import TimelineBucket, timeline
from .delivery_timeline import TimelineEvent, delivery_timeline
from .explanation import Explanation, ExplanationContext, why_address, why_email, why_person
from .explanation_steps import ExplanationCode, ExplanationStep, SuppressionCause
from .reasons import delivery_sentence
from .recipients import Filters, OpenFilter, RecipientPage, recipients_csv, recipients_page
from .report import Clicks, DeliveryFailures, Link, Opens, Report, campaign_report, links

__all__ = [
    "Clicks",
    "DeliveryFailures",
    "Explanation",
    "ExplanationCode",
    "ExplanationContext",
    "ExplanationStep",
    "Filters",
    "Link",
    "OpenFilter",
    "Opens",
    "RecipientPage",
    "Report",
    "SuppressionCause",
    "TimelineBucket",
    "TimelineEvent",
    "campaign_report",
    "delivery_sentence",
    "delivery_timeline",
    "links",
    "recipients_csv",
    "recipients_page",
    "timeline",
    "why_address",
    "why_email",
    "why_person",
]
