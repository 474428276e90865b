"""Every page of the product, in every state that looks different."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from unittest import mock

from pyramid.httpexceptions import HTTPForbidden, HTTPRequestEntityTooLarge
from sqlalchemy.exc import OperationalError

from mailganer import audience, billing
from mailganer.errors import Busy, NoRoom, Throttled, _
from mailganer.models import Import, ImportStatus, Subscriber, SubscriberStatus

from ..ports import free_port
from ..sent import token
from .acts import Act, click, fill, submit
from .furniture import EVERYTHING, FULL, NOTHING, UNCLOSED, Furniture, S

# Files that are no list of subscribers, by their fault.
BAD_FILES = {
    "empty": b"",
    "binary": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(256)),
    "spreadsheet": b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00[Content_Types].xml xl/workbook.xml",
    "no-address": b"name,town\nAnna,Leeds\nBen,Dublin\n",
    "headings-only": b"email,name\n",
    "200-columns": (
        ",".join(["email", *(f"c{n}" for n in range(199))]) + "\na@example.org" + ",x" * 199
    ).encode(),
    "1-mb-cell": b"email,note\nanna@example.org," + b"x" * 1_000_000 + b"\n",
}

HEBREW = "email;first_name\nm@example.org;משה\nk@example.org;כהן\n".encode("cp1255")
# What pages say of errors that a view does not handle.
ERRORS: dict[str, Exception] = {
    "forbidden": HTTPForbidden(),
    "too-large": HTTPRequestEntityTooLarge(),
    "too-often": Throttled(
        _("Too many attempts. Try again in ${minutes} min.", mapping={"minutes": 15}), retry_after=900
    ),
    "busy": Busy(_("Too many server checks are running right now. Try again in a moment."), retry_after=60),
    "disk-full": NoRoom(),
    "no-database": OperationalError("SELECT 1", {}, Exception("database is locked")),
    "broken": RuntimeError(),
}


@dataclass(frozen=True)
class Stop:
    """A page in one state: its name, path and owner, and the actions that lead to the state."""

    name: str
    path: str
    who: str = EVERYTHING  # nothing: signed out
    act: Act | None = None
    foreign: bool = False  # an email, not a page of ours: its layout is not checked


class Pages(Furniture):
    """The pages of three accounts of one language, and those without an account."""

    def stops(self) -> Iterator[Stop]:
        with self.session:
            self.furnish()
            self.session.commit()
            yield from self._signed_out()
            yield from self._empty()
            yield from self._full()
            yield from self._campaigns()
            yield from self._people()
            yield from self._files()
            yield from self._templates()
            yield from self._senders()
            yield from self._rest()
            yield from self._readers()

    def _signed_out(self) -> Iterator[Stop]:
        out = partial(Stop, who="")
        server, language = self.room.server, self.language
        address = f"somebody@{language}.example.net"
        yield out("home", "/")
        yield out("sign-in", "/sign-in")
        yield out("sign-in-no-address", "/sign-in?email=anna")
        yield out("sign-in-gmail", "/sign-in?email=anna@gmail.com")
        yield out("sign-in-smtp", f"/sign-in?email={address}")
        yield out("sign-in-maildir", f"/sign-in?email={address}&backend=maildir")
        yield out("sign-in-empty", f"/sign-in?email={address}", act=fill())
        wrong = {"host": server.host, "port": server.port, "security": "none", "password": "wrong"}
        yield out("sign-in-wrong-password", f"/sign-in?email={address}", act=fill(**wrong))
        yield out("sign-in-no-tls", f"/sign-in?email={address}", act=fill(**wrong | {"security": "starttls"}))
        yield out(
            "sign-in-no-tls-at-all", f"/sign-in?email={address}", act=fill(**wrong | {"security": "tls"})
        )
        yield out(
            "sign-in-nobody-listens", f"/sign-in?email={address}", act=fill(**wrong | {"port": free_port()})
        )
        yield out(
            "sign-in-no-such-host",
            f"/sign-in?email={address}",
            act=fill(**wrong | {"host": "mail.example.invalid", "port": 587, "security": "starttls"}),
        )
        yield out(
            "sign-in-forbidden-port",
            f"/sign-in?email={address}",
            act=fill(**wrong | {"host": "93.184.216.34", "port": 23, "security": "starttls"}),
        )
        yield out("sign-in-blocked", f"/sign-in?email={address}", act=self._blocked)
        yield out("sign-in-too-often", f"/sign-in?email={address}", act=partial(self._too_often, wrong))
        yield out("sign-in-waiting", f"/sign-in?email={address}", act=partial(self._silent_server, wrong))
        yield out("nothing-here-signed-out", "/nothing-here")

    def _blocked(self, page: Any) -> None:
        """The login is right, but the account may not send."""
        address = f"somebody@{self.language}.example.net"
        server = self.room.server
        server.passwords[address] = "secret"
        refusal = "550 5.7.1 This account has been blocked for sending spam. See https://example.net/blocked"

        async def refuse(*_ignored: Any) -> str:
            return refusal

        with mock.patch.object(server, "handle_MAIL", refuse):
            fill(host=server.host, port=server.port, security="none", password="secret")(page)

    def _silent_server(self, fields: dict[str, Any], page: Any) -> None:
        """The mail server accepts the connection and says nothing, so the page tells how long it waits."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            fill(**fields | {"port": server.getsockname()[1]})(page)

    def _too_often(self, fields: dict[str, Any], page: Any) -> None:
        for _n in range(11):
            page.goto(f"{self.room.home}/sign-in?email=somebody@{self.language}.example.net")
            fill(**fields)(page)
        self.room.forget_tries()

    def _empty(self) -> Iterator[Stop]:
        empty = partial(Stop, who=NOTHING)
        for path in (
            "campaigns",
            "people",
            "lists",
            "templates",
            "plan",
            "settings",
            "people/import",
            "people/new",
        ):
            yield empty(f"empty-{path.replace('/', '-')}", f"/{path}")
        yield empty("empty-outbox", "/outbox?to=nobody")
        yield empty("empty-sender-list", "/senders", act=self._without_senders)

    def _without_senders(self, page: Any) -> None:
        with mock.patch("mailganer.accounts.account_senders", return_value=[]):
            page.reload()

    def _full(self) -> Iterator[Stop]:
        full = partial(Stop, who=FULL)
        yield full("full-plan", "/plan")
        yield full("full-waits-for-the-plan", f"/campaigns/{self.limited.id}/progress")
        yield full("full-campaigns", "/campaigns")
        yield full("full-no-room-for-a-person", "/subscribers/new", act=fill(email="one.more@example.org"))

    def _campaigns(self) -> Iterator[Stop]:
        yield Stop("campaigns", "/campaigns")
        yield Stop("campaigns-paused", "/campaigns?status=paused")
        yield Stop("campaigns-more-actions", f"/campaigns/{self.ready.id}/check", act=click(".more summary"))
        for step in ("target", "email", "check", "when", "send", "email/template"):
            yield Stop(f"blank-{step.replace('/', '-')}", f"/campaigns/{self.blank.id}/{step}")
        for step in ("target", "email", "check", "when", "send"):
            yield Stop(f"ready-{step}", f"/campaigns/{self.ready.id}/{step}")
        yield Stop("ready-email-hardest", f"/campaigns/{self.ready.id}/email?as=hardest")
        yield Stop(
            "ready-email-phone", f"/campaigns/{self.ready.id}/email", act=click("label:has(#view-phone)")
        )
        yield Stop("ready-when-past", f"/campaigns/{self.ready.id}/when", act=self._past)
        yield Stop("ready-when-hours", f"/campaigns/{self.ready.id}/when", act=click("details.fold summary"))
        yield Stop("ready-delete", f"/campaigns/{self.ready.id}/check", act=self._asked_to_delete)
        yield Stop("long-name", f"/campaigns/{self.long.id}/target")
        for name, campaign in self.emails.items():
            yield Stop(f"email-{name}", f"/campaigns/{campaign.id}/email")
            yield Stop(f"email-{name}-check", f"/campaigns/{campaign.id}/check")
            yield Stop(f"email-{name}-send", f"/campaigns/{campaign.id}/send")
        yield Stop(
            "test-email-two-addresses",
            f"/campaigns/{self.ready.id}/email",
            act=fill(to="anna at example.org", within="#test"),
        )
        for name in (
            "scheduled",
            "overdue",
            "grace",
            "digest",
            "waiting",
            "stuck",
            "paused",
            "late",
            "hindered",
            "stopped",
            "taken_back",
            "night",
            "finished",
        ):
            campaign = getattr(self, name)
            yield Stop(f"progress-{name.replace('_', '-')}", f"/campaigns/{campaign.id}/progress")
        yield Stop(
            "progress-stop",
            f"/campaigns/{self.digest.id}/progress",
            act=click("button[popovertarget=stop-campaign]"),
        )
        yield Stop("scheduled-email", f"/campaigns/{self.scheduled.id}/email")
        yield Stop("scheduled-people", f"/campaigns/{self.scheduled.id}/target")
        yield Stop("paused-email", f"/campaigns/{self.paused.id}/email")
        yield Stop("report", f"/campaigns/{self.finished.id}/report")
        yield Stop(
            "report-table", f"/campaigns/{self.finished.id}/report", act=click(".chart details summary")
        )
        yield Stop("report-digest", f"/campaigns/{self.digest.id}/report")
        yield Stop("report-stopped", f"/campaigns/{self.stopped.id}/report")
        yield Stop("recipients", f"/campaigns/{self.finished.id}/recipients")
        yield Stop("recipients-failed", f"/campaigns/{self.finished.id}/recipients?status=failed")
        yield Stop("recipients-nobody", f"/campaigns/{self.finished.id}/recipients?query=zebra")
        sent = next(each for each in self.deliveries if each.status == S.sent)
        for name, delivery in (
            ("sent", sent),
            ("failed", self.deliveries[210]),
            ("in-doubt", self.deliveries[216]),
        ):
            yield Stop(f"delivery-{name}", f"/campaigns/{self.finished.id}/recipients/{delivery.id}")
        yield Stop("in-doubt", f"/campaigns/{self.finished.id}/in-doubt")
        yield Stop("in-doubt-nothing", f"/campaigns/{self.paused.id}/in-doubt")

    def _past(self, page: Any) -> None:
        """Remove the date field's minimum, so that the server validates the date."""
        page.evaluate("for (const field of document.querySelectorAll('[min]')) field.removeAttribute('min')")
        page.locator("input[name=when][value=later]").check()
        page.locator("#day").fill("2020-01-01")
        submit(page, "main form button[name=go]")

    def _asked_to_delete(self, page: Any) -> None:
        page.locator(".more summary").click()
        page.locator("button[popovertarget=delete-campaign]").first.click()

    def _people(self) -> Iterator[Stop]:
        left = next(each for each in self.many if each.status == SubscriberStatus.unsubscribed)
        gone = next(each for each in self.many if each.status == SubscriberStatus.bounced)
        yield Stop("people", "/subscribers")
        yield Stop("people-nobody", "/subscribers?query=zebra")
        yield Stop("people-unsubscribed", "/subscribers?status=unsubscribed")
        yield Stop("person", f"/subscribers/{self.many[0].id}")
        yield Stop("person-unsubscribed", f"/subscribers/{left.id}")
        yield Stop("person-bounced", f"/subscribers/{gone.id}")
        yield Stop(
            "person-delete",
            f"/subscribers/{self.many[0].id}",
            act=click("button[popovertarget=delete-person]"),
        )
        yield Stop("person-edit", f"/subscribers/{self.many[0].id}/edit")
        yield Stop("person-new", "/subscribers/new")
        yield Stop(
            "person-new-wrong",
            "/subscribers/new",
            act=fill(email="anna weaver@example.org", birthday="31.31.1990"),
        )
        yield Stop("person-new-two", "/subscribers/new", act=fill(email="anna@example.org, ben@example.org"))
        yield Stop("person-new-taken", "/subscribers/new", act=fill(email="reader000@example.org"))
        yield Stop("lists", "/lists")
        yield Stop("list", f"/lists/{self.customers.id}")
        yield Stop("list-edit", f"/lists/{self.customers.id}/edit")
        yield Stop("list-new", "/lists/new")
        yield Stop("list-new-wrong", "/lists/new", act=fill(name=""))

    def _files(self) -> Iterator[Stop]:
        words = self.words
        rows = [
            self._row(n, address)
            for n, address in enumerate(
                [
                    *(f"newcomer{n}@example.org" for n in range(30)),
                    "reader001@example.org",
                    "anna weaver@example.org",
                    "anna@example.org ben@example.org",
                    "anna@",
                    "newcomer1@example.org",
                ]
            )
        ]
        good = "\n".join([words.heads, *rows, rows[0].replace("1990", "19x0").replace("newcomer0", "late")])
        for name in ("reading", "ready", "applying", "done", "undone"):
            yield Stop(f"import-{name}", f"/subscribers/import/{self.bring(good, name)}")
        failed = self.bring(good, "reading")
        self._fail(failed)
        yield Stop("import-failed", f"/subscribers/import/{failed}")
        yield Stop("import-encoding", "/subscribers/import", act=partial(self._bring, HEBREW, self.into))
        yield Stop("import", "/subscribers/import")
        yield Stop("import-no-file", "/subscribers/import", act=fill(within="#bring"))
        yield Stop(
            "import-no-name",
            "/subscribers/import",
            act=partial(self._bring, b"email\na@example.org\n", "new"),
        )
        for name, content in BAD_FILES.items():
            yield Stop(f"import-{name}", "/subscribers/import", act=partial(self._bring, content, self.into))

    def _fail(self, number: int) -> None:
        with self.room.registry["sessions"].begin() as session:
            job = session.get_one(Import, number)
            job.status, job.error = ImportStatus.failed, "quote:7"

    def _row(self, n: int, address: str) -> str:
        first, last = self.words.name_of(n % 8, n % 8)
        return self.words.row.format(address=address, first=first, last=last, town=self.words.towns[n % 4])

    def _bring(self, content: bytes, list_: str, page: Any) -> None:
        page.locator("input[type=file]").set_input_files(
            {"name": f"{self.words.customers}.csv", "mimeType": "text/csv", "buffer": content}
        )
        page.locator("select[name=list]").select_option(list_)
        if list_ == "new":
            page.locator("input[name=name]").fill("")
        submit(page, "#bring button")
        if "/subscribers/import/" in page.url:
            self.room.work_on_files()
            page.reload()

    def _templates(self) -> Iterator[Stop]:
        yield Stop("templates", "/templates")
        yield Stop("template", f"/templates/{self.template.id}")
        yield Stop("template-new", "/templates/new")
        yield Stop("template-new-no-name", "/templates/new", act=fill(name=""))
        broken = self.make.template(self.account, self.words.faulty, html=UNCLOSED)
        self.session.commit()
        yield Stop("template-broken", f"/templates/{broken.id}")
        yield Stop("template-ready", "/templates/ready/welcome")

    def _senders(self) -> Iterator[Stop]:
        server = self.room.server
        address = f"second@{self.language}.example.net"
        wrong = {"host": server.host, "port": server.port, "security": "none", "password": "wrong"}
        yield Stop("senders", "/senders")
        for name in ("sender", "small", "resting", "failing"):
            yield Stop(f"sender-{name}", f"/senders/{getattr(self, name).id}")
        yield Stop(
            "sender-remove", f"/senders/{self.small.id}", act=click("button[popovertarget=remove-sender]")
        )
        yield Stop("sender-new", "/senders/new")
        yield Stop("sender-new-no-address", "/senders/new?email=anna")
        yield Stop("sender-new-gmail", "/senders/new?email=anna@gmail.com")
        yield Stop("sender-new-smtp", f"/senders/new?email={address}")
        yield Stop("sender-new-refused", f"/senders/new?email={address}", act=fill(**wrong))

    def _rest(self) -> Iterator[Stop]:
        yield Stop("plan", "/plan")
        yield Stop(
            "plan-wrong-voucher", "/plan", act=fill(within="form[action*='/plan/pay/']", code="ABCD-EFGH")
        )
        yield Stop("settings", "/settings")
        yield Stop(
            "settings-token",
            "/settings",
            act=fill(within="form[action*='/settings/tokens#']", name=self.words.token),
        )
        yield Stop(
            "settings-token-no-name",
            "/settings",
            act=fill(within="form[action*='/settings/tokens#']", name=""),
        )
        yield Stop("settings-close", "/settings", act=click("button[popovertarget=close-account]"))
        yield Stop("menu", "/settings", act=click(".who summary"))
        yield Stop("outbox", "/outbox")
        yield Stop("outbox-email", "/outbox", act=click("main a[href*='/outbox/']"))
        yield Stop("design", "/design")
        yield Stop("nothing-here", "/nothing-here")
        yield Stop("not-yours", f"/campaigns/{self.limited.id}")
        yield Stop("no-page", f"/campaigns/{self.paused.id}/pause")
        yield Stop("old-form", "/settings", act=self._old_form)
        for name, error in ERRORS.items():
            yield Stop(f"error-{name}", "/plan", act=partial(self._fails, error))
        yield Stop("plan-granted", "/plan", act=self._redeem)
        yield Stop("plan-pay-elsewhere", "/plan", act=self._pay_elsewhere)

    def _old_form(self, page: Any) -> None:
        page.evaluate(
            "for (const field of document.querySelectorAll('[name=csrf_token]')) field.value = 'old'"
        )
        submit(page, "main form button.button-primary")

    def _fails(self, error: Exception, page: Any) -> None:
        with mock.patch("mailganer.views.plan.billing.plan_quota", side_effect=error):
            page.reload()

    def _redeem(self, page: Any) -> None:
        self._pay(page, billing.PlanGranted(self.room.settings.plans[1], self.now + timedelta(days=30)))

    def _pay_elsewhere(self, page: Any) -> None:
        self._pay(page, billing.Redirect("https://pay.example.com/1"))

    def _pay(self, page: Any, outcome: Any) -> None:
        """Show the answer of a payment provider; a provider's own page is not opened."""
        page.route("https://pay.example.com/**", lambda route: route.fulfill(status=204))
        with mock.patch("mailganer.views.plan._begin", return_value=outcome):
            fill(within="form[action*='/plan/pay/']", code="ABCD-EFGH-JKLM-NPQR")(page)

    def _readers(self) -> Iterator[Stop]:
        reader = partial(Stop, who="")
        sent = [token(each) for each in self.deliveries if each.status == S.sent]
        yield reader("unsubscribe", f"/u/{sent[100]}")
        yield reader("unsubscribe-why", f"/u/{sent[100]}", act=click("details summary"))
        yield reader("unsubscribed", f"/u/{sent[101]}", act=self._leave)
        yield reader("unsubscribe-undone", f"/u/{sent[102]}", act=self._there_and_back)
        erased = [each for each in self.deliveries if each.status == S.sent][150:152]
        urls = [f"/u/{token(each)}" for each in erased]
        for delivery in erased:
            audience.erase_subscriber(self.session, self.session.get_one(Subscriber, delivery.subscriber_id))
        self.session.commit()
        yield reader("unsubscribe-erased", urls[0])
        yield reader("unsubscribed-erased", urls[1], act=self._leave)
        yield reader("unsubscribe-later", f"/u/{sent[103]}", act=self._later)
        yield reader("reader-nothing-here", "/u/AAAAAAAAAAAAAAAAAAAAAA")
        yield reader("email-in-browser", f"/v/{sent[100]}", foreign=True)

    def _later(self, page: Any) -> None:
        with mock.patch("mailganer.views.recipient_pages.tracking.recipient_page", side_effect=Busy("", 30)):
            page.reload()

    def _leave(self, page: Any) -> None:
        """On a second visit the recipient has unsubscribed already, so the page is as after the click."""
        if page.locator(".button-primary").count():
            submit(page, ".button-primary")

    def _there_and_back(self, page: Any) -> None:
        submit(page, "button")
        submit(page, "form[action*='/undo'] button")
