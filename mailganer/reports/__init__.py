"""What it amounts to: numbers, series and people, for pages and the API."""

from .reasons import delivery_sentence
from .recipients import Filters, Opened, Page, recipients_csv, recipients_page
from .report import Clicks, Link, Opens, Report, Trouble, campaign_report, links
from .story import Happening, delivery_story
from .timeline import Moment, timeline

__all__ = [
    "Clicks",
    "Filters",
    "Happening",
    "Link",
    "Moment",
    "Opened",
    "Opens",
    "Page",
    "Report",
    "Trouble",
    "campaign_report",
    "delivery_sentence",
    "delivery_story",
    "links",
    "recipients_csv",
    "recipients_page",
    "timeline",
]
