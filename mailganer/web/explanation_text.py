"""Explanations of deliveries for pages and API: their context, and each step as a sentence."""

from pyramid.request import Request

from ..db import utcnow
from ..models import Campaign
from ..reports import ExplanationContext, ExplanationStep
from . import localization


def explanation_context(request: Request, campaign: Campaign) -> ExplanationContext:
    """Return the context that every explanation of this campaign needs."""
    registry = request.registry
    return ExplanationContext(
        request.dbsession, campaign, utcnow(), registry["settings"], registry["backends"]
    )


def step_sentence(request: Request, step: ExplanationStep) -> str:
    """Return a step as a sentence in the language and time zone of the request."""
    sentence = step.sentence(localization.plain_datetime, localization.number)
    return localization.translate(request, sentence).strip()
