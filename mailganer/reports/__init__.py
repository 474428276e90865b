"""What it amounts to: numbers, series and people, for pages and the API."""

from .reasons import delivery_sentence
from .recipients import Filters, Opened, Page, recipients_csv, recipients_page
from .report import Clicks, Link, Opens, Report, Trouble, campaign_report, links
from .steps import Cause, Code, Step
from .story import Happening, delivery_story
from .timeline import Moment, timeline
from .why import Asked, Why, why_address, why_letter, why_person

__all__ = [
    "Asked",
    "Cause",
    "Clicks",
    "Code",
    "Filters",
    "Happening",
    "Link",
    "Moment",
    "Opened",
    "Opens",
    "Page",
    "Report",
    "Step",
    "Trouble",
    "Why",
    "campaign_report",
    "delivery_sentence",
    "delivery_story",
    "links",
    "recipients_csv",
    "recipients_page",
    "timeline",
    "why_address",
    "why_letter",
    "why_person",
]
