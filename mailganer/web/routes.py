"""Routes and route contexts.

A view of ``/campaigns/{id}`` finds ``request.context.campaign``: the factory has loaded it within the account
of the request. A missing row and a row of another account are the same 404. A factory runs before the view's
permission is checked, so it also handles requests that are not signed in.
"""

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPForbidden
from pyramid.request import Request
from sqlalchemy.orm import Session

from ..errors import NotFound
from ..models import (
    Account,
    ApiToken,
    Campaign,
    Delivery,
    Import,
    Sender,
    Subscriber,
    SubscriberList,
    Template,
    owned,
)
from ..models.ownership import OwnedModel

LARGEST_ID = 2**63 - 1
RECIPIENT_ROUTES = frozenset({"open", "click", "unsubscribe", "unsubscribe_undo", "email_in_browser"})
"""Routes of pages for recipients: no login, no cookie."""


class RouteContext:
    """Context of a page that belongs to the account and names no row. ``account`` is never None here."""

    def __init__(self, request: Request) -> None:
        if request.account is None:
            raise HTTPForbidden()
        self.request = request
        self.account: Account = request.account

    def load(self, model: type[OwnedModel], key: str = "id") -> OwnedModel:
        """Return the account's row named by the URL. Raise ``NotFound``."""
        return owned(self.request.dbsession, model, self.account.id, _id(self.request.matchdict[key]))


class CampaignContext(RouteContext):
    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self.campaign: Campaign = self.load(Campaign)


class DeliveryContext(CampaignContext):
    """One email of a campaign: ``/campaigns/{id}/recipients/{delivery}``."""

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self.delivery: Delivery = self._delivery(request)

    def _delivery(self, request: Request) -> Delivery:
        session: Session = request.dbsession
        row = session.get(Delivery, _id(request.matchdict["delivery"]))
        if row is None or row.campaign_id != self.campaign.id:
            raise NotFound
        return row


class ListContext(RouteContext):
    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self.list: SubscriberList = self.load(SubscriberList)


class SubscriberContext(RouteContext):
    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self.subscriber: Subscriber = self.load(Subscriber)


class ImportContext(RouteContext):
    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self.import_: Import = self.load(Import)


class TemplateContext(RouteContext):
    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self.template: Template = self.load(Template)


class SenderContext(RouteContext):
    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self.sender: Sender = self.load(Sender)


class TokenContext(RouteContext):
    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self.token: ApiToken = self.load(ApiToken)


def _id(text: str) -> int:
    if (
        not (text.isascii() and text.isdecimal())
        or len(text) > len(str(LARGEST_ID))
        or int(text) > LARGEST_ID
    ):
        raise NotFound
    return int(text)


# Name, pattern, factory. {id:\d+} matches a whole number.
FIRST_PAGES = (
    ("home", "/", None),
    ("sign_in", "/sign-in", None),
    ("sign_in.demo", "/sign-in/demo", None),
    ("sign_out", "/sign-out", None),
    ("display_settings", "/display-settings", None),
    ("waiting", "/waiting/{key}", None),
)
PAGES = (
    ("campaigns", "/campaigns", RouteContext),
    ("campaigns.new", "/campaigns/new", RouteContext),
    ("campaign", r"/campaigns/{id:\d+}", CampaignContext),
    ("campaign.target", r"/campaigns/{id:\d+}/target", CampaignContext),
    ("campaign.email", r"/campaigns/{id:\d+}/email", CampaignContext),
    ("campaign.upload", r"/campaigns/{id:\d+}/email/upload", CampaignContext),
    ("campaign.template", r"/campaigns/{id:\d+}/email/template", CampaignContext),
    ("campaign.earlier", r"/campaigns/{id:\d+}/email/earlier", CampaignContext),
    ("campaign.frame", r"/campaigns/{id:\d+}/email/frame", CampaignContext),
    ("campaign.test", r"/campaigns/{id:\d+}/email/test", CampaignContext),
    ("campaign.check", r"/campaigns/{id:\d+}/check", CampaignContext),
    ("campaign.when", r"/campaigns/{id:\d+}/when", CampaignContext),
    ("campaign.send", r"/campaigns/{id:\d+}/send", CampaignContext),
    ("campaign.pause", r"/campaigns/{id:\d+}/pause", CampaignContext),
    ("campaign.resume", r"/campaigns/{id:\d+}/resume", CampaignContext),
    ("campaign.cancel", r"/campaigns/{id:\d+}/cancel", CampaignContext),
    ("campaign.unschedule", r"/campaigns/{id:\d+}/unschedule", CampaignContext),
    ("campaign.duplicate", r"/campaigns/{id:\d+}/duplicate", CampaignContext),
    ("campaign.delete", r"/campaigns/{id:\d+}/delete", CampaignContext),
    ("campaign.progress", r"/campaigns/{id:\d+}/progress", CampaignContext),
    ("campaign.report", r"/campaigns/{id:\d+}/report", CampaignContext),
    ("campaign.recipients", r"/campaigns/{id:\d+}/recipients", CampaignContext),
    ("campaign.recipients_csv", r"/campaigns/{id:\d+}/recipients.csv", CampaignContext),
    ("campaign.delivery", r"/campaigns/{id:\d+}/recipients/{delivery:\d+}", DeliveryContext),
    ("campaign.why", r"/campaigns/{id:\d+}/why", CampaignContext),
    ("campaign.in_doubt", r"/campaigns/{id:\d+}/in-doubt", CampaignContext),
    ("subscribers", "/subscribers", RouteContext),
    ("subscribers.new", "/subscribers/new", RouteContext),
    ("subscribers.csv", "/subscribers.csv", RouteContext),
    ("subscribers.import", "/subscribers/import", RouteContext),
    ("import", r"/subscribers/import/{id:\d+}", ImportContext),
    ("import.columns", r"/subscribers/import/{id:\d+}/columns", ImportContext),
    ("import.encoding", r"/subscribers/import/{id:\d+}/encoding", ImportContext),
    ("import.apply", r"/subscribers/import/{id:\d+}/apply", ImportContext),
    ("import.discard", r"/subscribers/import/{id:\d+}/discard", ImportContext),
    ("import.undo", r"/subscribers/import/{id:\d+}/undo", ImportContext),
    ("import.progress", r"/subscribers/import/{id:\d+}/progress", ImportContext),
    ("import.rejects", r"/subscribers/import/{id:\d+}/rejects.csv", ImportContext),
    ("subscriber", r"/subscribers/{id:\d+}", SubscriberContext),
    ("subscriber.why", r"/subscribers/{id:\d+}/why", SubscriberContext),
    ("subscriber.edit", r"/subscribers/{id:\d+}/edit", SubscriberContext),
    ("subscriber.unsubscribe", r"/subscribers/{id:\d+}/unsubscribe", SubscriberContext),
    ("subscriber.delete", r"/subscribers/{id:\d+}/delete", SubscriberContext),
    ("lists", "/lists", RouteContext),
    ("lists.new", "/lists/new", RouteContext),
    ("list", r"/lists/{id:\d+}", ListContext),
    ("list.edit", r"/lists/{id:\d+}/edit", ListContext),
    ("list.delete", r"/lists/{id:\d+}/delete", ListContext),
    ("templates", "/templates", RouteContext),
    ("templates.new", "/templates/new", RouteContext),
    ("templates.ready", "/templates/ready/{kind:[a-z_]+}", RouteContext),
    ("templates.ready_frame", "/templates/ready/{kind:[a-z_]+}/frame", RouteContext),
    ("template", r"/templates/{id:\d+}", TemplateContext),
    ("template.frame", r"/templates/{id:\d+}/frame", TemplateContext),
    ("template.use", r"/templates/{id:\d+}/use", TemplateContext),
    ("template.duplicate", r"/templates/{id:\d+}/duplicate", TemplateContext),
    ("template.delete", r"/templates/{id:\d+}/delete", TemplateContext),
    ("senders", "/senders", RouteContext),
    ("senders.new", "/senders/new", RouteContext),
    ("sender", r"/senders/{id:\d+}", SenderContext),
    ("sender.verify", r"/senders/{id:\d+}/verify", SenderContext),
    ("sender.delete", r"/senders/{id:\d+}/delete", SenderContext),
    ("plan", "/plan", RouteContext),
    ("plan.pay", "/plan/pay/{provider:[a-z0-9_]+}", RouteContext),
    ("settings", "/settings", RouteContext),
    ("settings.tokens", "/settings/tokens", RouteContext),
    ("settings.token_delete", r"/settings/tokens/{id:\d+}/delete", TokenContext),
    ("settings.log_out_everywhere", "/settings/log-out-everywhere", RouteContext),
    ("settings.close", "/settings/close", RouteContext),
)
RECIPIENT_PAGES = (
    ("open", "/o/{token}.gif", None),
    ("click", r"/c/{token}/{number:\d+}", None),
    ("unsubscribe", "/u/{token}", None),
    ("unsubscribe_undo", "/u/{token}/undo", None),
    ("email_in_browser", "/v/{token}", None),
)
OPERATORS_PAGES = (
    ("healthz", "/healthz", None),
    ("metrics", "/metrics", None),
)
PAYMENTS = (("payment", "/payments/{name}", None),)
"""Called by the servers of payment providers."""
DEVELOPMENT_PAGES = (
    ("design", "/design", None),
    ("outbox", "/outbox", None),
    ("outbox.email", r"/outbox/{key}", None),
    ("outbox.frame", r"/outbox/{key}/frame", None),
)


def includeme(config: Configurator) -> None:
    config.add_static_view("static", "mailganer:static", cache_max_age=3600)
    groups = [FIRST_PAGES, PAGES, RECIPIENT_PAGES, OPERATORS_PAGES, PAYMENTS]
    if config.registry["settings"].development:
        groups.append(DEVELOPMENT_PAGES)
    for group in groups:
        for name, pattern, factory in group:
            config.add_route(name, pattern, factory=factory)
