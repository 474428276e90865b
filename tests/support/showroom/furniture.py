"""The data of the showroom: three accounts of one language, with data in every state."""

import io
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from mailganer import audience, mail_catcher, tracking
from mailganer.audience import add_sample_subscribers
from mailganer.audience.suppression import suppress
from mailganer.campaigns.actuals import kept_forecast
from mailganer.campaigns.simulation import simulate
from mailganer.campaigns.simulation_model import SimulatedLane
from mailganer.db import utcnow
from mailganer.errors import _
from mailganer.i18n.ready_templates import ready_templates
from mailganer.models import (
    LARGEST_CAMPAIGN,
    Account,
    Campaign,
    CampaignStatus,
    Delivery,
    DeliveryStatus,
    Import,
    Reason,
    Sender,
    SenderStatus,
    SentPerMinute,
    Subscriber,
    SubscriberStatus,
    Usage,
    first_delivery_id,
)
from mailganer.quota.plan_and_sender_usage import frees_at, minute_of
from mailganer.quota.rolling_counter import RollingCounter
from mailganer.rendering.render_budget import LONG_TEXTS
from mailganer.sending.scheduler.plan import start_due
from mailganer.sending.worker.pausing import pause_campaign_with_reason

from ..factories import Factory
from ..sent import record_open, sent_campaign, token
from .words import WORDS

EVERYTHING, NOTHING, FULL = "anna", "boris", "olga"  # the owner of each part
HOUSEHOLD = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
BEHIND_A_PROXY = "Mozilla/5.0"
BROWSER = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/130.0.0.0 Safari/537.36"
MANY = 240  # subscribers of the large list: more than one page
HAD_LEFT = range(219, 223)  # of the large list: manually, before the September digest
LEFT_BY_IT, COMPLAINED = (205, 207, 208), (206, 209)  # so they got nothing later
FREE_A_DAY, FREE_PEOPLE = 500, 300
S = DeliveryStatus

WHY = {
    S.sent: (None, "250 2.0.0 Ok: queued as 4F1Qx83GZ"),
    S.failed: (Reason.refused, "550 5.1.1 <{email}>: Recipient address rejected: User unknown"),
    S.in_doubt: (Reason.disconnected, None),
    S.skipped: (Reason.unsubscribed, None),
    S.bounced: (None, "5.2.2 (over quota)"),
    S.sent: (None, "250 2.0.0 Ok: queued as 4XkT2v1Zz9"),
}
UNKNOWN_FILTER = "<p>{{ first_name|default('') }}</p>\n<p>{{ town|shout }}</p>\n"
BOMB = "<p>{{ 'a' * 10**9 }}</p>\n"
UNKNOWN_VARIABLE = "<p>{{ first_name|default('') }}, {{ favourite_colour }}</p>\n"
FAULTY = (
    "<p>*|FNAME|*, %%town%%, {{ favourite_colour }}</p>\n"
    '<p><a href="http://localhost/offer">1</a> <a href="">2</a> <a href="https://bit.ly/3xYz">3</a></p>\n'
    '<p><img src="http://192.168.0.5/picture.png"><img src="data:image/png;base64,AA" alt=""></p>\n'
    "<script>document.title = 1</script>\n"
)
UNCLOSED = "<p>{{ first_name|default('') }}\n\n{% if town %}<p>{{ town }}</p>\n"


class Furniture:
    """Fills the accounts. Afterwards each row is an attribute: ``furniture.paused`` is a campaign."""

    def __init__(self, room: Any, language: str) -> None:
        self.room, self.language, self.words = room, language, WORDS[language]
        self.now = utcnow()
        self.session: Session = room.registry["sessions"]()
        self.make = Factory(self.session, self.now, room.registry["vault"])

    def furnish(self) -> None:
        emails = {who: self.room.enter(who, self.language) for who in (EVERYTHING, NOTHING, FULL)}
        self.session.expire_all()
        self.account = self._account(emails[EVERYTHING])
        self.sender = self._sender_of(self.account)
        self.sender.name = self.sender.from_name = self.words.team
        self._furnish_people()
        self._furnish_senders()
        self._furnish_campaigns()
        self.template = self.make.template(
            self.account, self.words.template, subject=self.digest.subject, html=self.digest.html
        )
        self._keep_an_email()
        self._fill_up(self._account(emails[FULL]))

    def _account(self, email: str) -> Account:
        return self.session.scalars(select(Account).where(Account.email == email)).one()

    def _sender_of(self, account: Account) -> Sender:
        return self.session.scalars(select(Sender).where(Sender.account_id == account.id)).first()

    def _furnish_people(self) -> None:
        words = self.words
        self.friends = add_sample_subscribers(
            self.session, self.account, locale=self.language, now=self.now, settings=self.room.settings
        )
        self.into = str(self.friends.id)
        self.customers = self.make.list(
            self.account,
            words.customers,
            description=words.about_customers,
            created_at=self.now - timedelta(days=120),
        )
        self.many: list[Subscriber] = []
        for n in range(MANY):
            first, last = words.name_of(n % 8, n // 8 % 8)
            self.many.append(
                self.make.subscriber(
                    self.account,
                    f"reader{n:03}.with-a-rather-long-address@mail.example.org"
                    if n == 3
                    else f"reader{n:03}@example.org",
                    (self.customers,),
                    first_name=first,
                    last_name=last,
                    fields={"town": words.towns[n % 4]} if n % 5 else {},
                    created_at=self.now - timedelta(days=70 + (MANY - n) // 6),
                )
            )
        for n in HAD_LEFT:
            audience.unsubscribe(
                self.session, self.many[n], reason="by hand", now=self.now - timedelta(days=6)
            )

    def _furnish_senders(self) -> None:
        shop = f"shop@{self.language}.example.com"
        self.small = self.make.sender(
            self.account,
            name="shop",
            from_name=self.words.team,
            from_email=shop,
            per_day=50,
            verified_at=self.now - timedelta(days=9),
            status=SenderStatus.sleeping,
            sleeps_until=frees_at(minute_of(self.now) - 12 * 60),
        )
        self.resting = self.make.sender(
            self.account,
            from_name=self.words.name,
            from_email=f"resting@{self.language}.example.com",
            status=SenderStatus.sleeping,
            failures=2,
            error=_(
                "The mail server asked Mailganer to wait. Server reply: ${reply}",
                mapping={"reply": "421 4.7.0 Temporary system problem, try again later"},
            ),
            sleeps_until=self.now + timedelta(minutes=40),
            verified_at=self.now - timedelta(days=5),
        )
        self.failing = self.make.sender(
            self.account,
            from_name=self.words.name,
            from_email=f"an.address.that.is.long.enough.to.break@{self.language}.example.com",
            status=SenderStatus.failing,
            error=_(
                "${host} rejected the login or password: ${reply}",
                mapping={
                    "host": f"smtp.{self.language}.example.com",
                    "reply": "535 5.7.8 Error: authentication failed: UGFzc3dvcmQ6",
                },
            ),
            verified_at=self.now - timedelta(days=3),
        )
        # What the campaigns below have sent in the last 24 hours.
        self._used(self.sender, [(6 * 60, 5), (4 * 60, 40), *((ago, 20) for ago in range(6, 0, -1))])
        self._used(self.small, [(12 * 60, 50)])
        self._used(self.failing, [(2 * 60, 12)])

    def _used(self, sender: Sender, minutes: Sequence[tuple[int, int]]) -> None:
        this = minute_of(self.now)
        for ago, emails in minutes:
            self.session.add(
                Usage(sender_id=sender.id, account_id=sender.account_id, minute=this - ago, emails=emails)
            )

    def _email(self, kind: str) -> dict[str, str]:
        ready = next(each for each in ready_templates(self.language) if each.kind == kind)
        return {"subject": ready.subject, "preheader": ready.preheader, "html": ready.html}

    def _campaign(self, name: str, status: CampaignStatus = CampaignStatus.draft, **values: Any) -> Campaign:
        values = {
            "name": name,
            "locale": self.language,
            **self._email("digest"),
            "created_at": self.now - timedelta(days=2),
            "updated_at": self.now - timedelta(hours=2),
            **values,
        }
        lists = values.pop("lists", (self.customers,))
        senders = values.pop("senders", (self.sender,))
        return self.make.campaign(self.account, lists, senders, status=status, **values)

    def _sent(
        self, campaign: Campaign, status: CampaignStatus, words: Sequence[DeliveryStatus], ago: timedelta
    ) -> list[Delivery]:
        """Add its deliveries to the first of the large list, an hour before ``ago``; ``words`` are states."""
        subscribers = self.many[: len(words)]
        found = sent_campaign(self.session, campaign, subscribers, self.now - ago, words)
        for subscriber, delivery in zip(subscribers, found, strict=True):
            delivery.reason, reply = WHY.get(delivery.status, (None, None))
            delivery.reply = reply.format(email=delivery.email) if reply else None
            if delivery.status in (S.failed, S.bounced):
                suppress(
                    self.session,
                    subscriber,
                    SubscriberStatus.bounced,
                    reason=delivery.reply,
                    now=delivery.settled_at,
                )
        campaign.status = status
        return found

    def _furnish_campaigns(self) -> None:
        words, now = self.words, self.now
        self.blank = self._campaign("", lists=(), senders=(), subject="", preheader="", html="")
        self.ready = self._campaign(
            words.ready, lists=(self.customers, self.friends), preheader=words.preheader
        )
        self.emails = {
            "unknown-filter": self._campaign(words.faulty, html=UNKNOWN_FILTER, senders=(self.failing,)),
            "bomb": self._campaign(words.faulty, html=BOMB),
            "unknown-variable": self._campaign(words.faulty, html=UNKNOWN_VARIABLE),
            "unclosed": self._campaign(words.faulty, html=UNCLOSED),
            "many-faults": self._campaign(words.faulty, html=FAULTY, senders=(self.small, self.failing)),
        }
        self.scheduled = self._campaign(
            words.scheduled, CampaignStatus.scheduled, send_at=(now + timedelta(days=1)).replace(minute=0)
        )
        self.overdue = self._campaign(
            words.scheduled, CampaignStatus.scheduled, send_at=now - timedelta(seconds=1)
        )
        self.grace = self._campaign(
            words.grace,
            CampaignStatus.scheduled,
            pressed_at=now - timedelta(minutes=4),
            send_at=now + timedelta(minutes=6),
        )
        self.digest = self._campaign(words.sending)
        on_its_way = self._sent(
            self.digest,
            CampaignStatus.sending,
            _mixed(120, 4, 1, 0) + [S.pending] * 80,
            timedelta(minutes=7) - timedelta(hours=1),
        )
        for number, delivery in enumerate(each for each in on_its_way if each.settled_at):
            delivery.settled_at = now - timedelta(minutes=6) + number * timedelta(seconds=2.8)
        self.waiting = self._campaign(words.waiting, senders=(self.small,))
        self._sent(
            self.waiting, CampaignStatus.sending, [S.sent] * 50 + [S.pending] * 70, timedelta(hours=11)
        )
        self.stuck = self._campaign(words.failing, senders=(self.failing,))
        self._sent(self.stuck, CampaignStatus.sending, [S.sent] * 12 + [S.pending] * 40, timedelta(hours=1))
        days_off = [(self.now.isoweekday() + 1) % 7 + 1]  # the day after tomorrow
        hours = {"days": days_off, "from": "09:00", "to": "18:00", "timezone": self.account.timezone}
        self.night = self._campaign(words.night, hours=hours)
        self._sent(self.night, CampaignStatus.sending, [S.sent] * 25 + [S.pending] * 50, timedelta(hours=9))
        self.paused = self._campaign(words.paused)
        self._sent(self.paused, CampaignStatus.paused, [S.sent] * 40 + [S.pending] * 60, timedelta(hours=3))
        self.late = self._campaign(words.late, CampaignStatus.scheduled, send_at=now - timedelta(days=2))
        self.hindered = self._campaign(words.hindered)
        self._sent(self.hindered, CampaignStatus.sending, [S.sent] * 5 + [S.pending] * 60, timedelta(hours=5))
        self._furnish_finished()
        self.stopped = self._campaign(words.stopped)
        self._sent(
            self.stopped, CampaignStatus.cancelled, [S.sent] * 30 + [S.skipped] * 60, timedelta(days=4)
        )
        self._never_left(self.stopped)
        self.taken_back = self._campaign(
            words.taken_back, CampaignStatus.cancelled, send_at=now - timedelta(days=1)
        )
        self.long = self._campaign(words.long)
        self._hold()

    def _hold(self) -> None:
        """Let the pipeline pause what is too late and what has a faulty email."""
        self.session.flush()
        overdue, self.overdue.status = self.overdue.status, CampaignStatus.draft
        grace, self.grace.status = self.grace.status, CampaignStatus.draft
        start_due(self.session, self.now, timedelta(hours=24))
        self.overdue.status, self.grace.status = overdue, grace
        reason = _("The email cannot be sent. ${reason}", mapping={"reason": LONG_TEXTS})
        pause_campaign_with_reason(self.session, self.hindered.id, reason, self.now)
        self.session.flush()
        self.session.expire_all()

    def _furnish_finished(self) -> None:
        self.finished = self._campaign(self.words.finished)
        self.deliveries = self._sent(
            self.finished,
            CampaignStatus.finished,
            _mixed(210, 6, 3, 4) + [S.bounced] * 2,
            timedelta(hours=60),
        )
        start = self.now - timedelta(hours=61)
        self.finished.finished_at = start + timedelta(minutes=12)
        for number, delivery in enumerate(each for each in self.deliveries if each.status == S.sent):
            at = start + timedelta(minutes=3 + number**2 / 16)
            if at > self.now or number % 3 == 2:
                continue
            agent = BEHIND_A_PROXY if number % 4 == 1 else HOUSEHOLD
            record_open(self.session, token(delivery), agent=agent, now=at)
            if number % 6 == 0:
                tracking.record_click(
                    self.session,
                    token(delivery),
                    1 + number % 3,
                    agent=BROWSER,
                    now=at + timedelta(minutes=2),
                )
            if number in LEFT_BY_IT:
                tracking.unsubscribe_by_token(self.session, token(delivery), now=at + timedelta(minutes=3))
        for number in COMPLAINED:
            subscriber, at = self.many[number], start + timedelta(hours=5)
            suppress(self.session, subscriber, SubscriberStatus.complained, reason="", now=at)
        lane = SimulatedLane(self.sender.from_email, RollingCounter.of(None, ()), per_minute=20)
        foreseen = simulate(225, start, [lane], RollingCounter.of(None, ()), self.account.timezone)
        self.finished.forecast = kept_forecast(foreseen)
        for minute in range(12):
            self.session.add(
                SentPerMinute(
                    campaign_id=self.finished.id,
                    sender_id=self.sender.id,
                    minute=minute_of(start) + minute,
                    emails=18 if minute < 10 else 16,  # 212: bounced emails were sent too
                )
            )

    def _never_left(self, campaign: Campaign) -> None:
        """The recipients that had not got it when it was stopped."""
        first = first_delivery_id(campaign.id)
        self.session.execute(
            update(Delivery)
            .where(Delivery.id >= first, Delivery.id < first + LARGEST_CAMPAIGN, Delivery.status == S.skipped)
            .values(reason=Reason.cancelled)
        )

    def _keep_an_email(self) -> None:
        html = f"<h1>{self.words.ready}</h1><p>{self.words.preheader}</p>"
        mail_catcher.make_folder(self.room.settings.outbox)
        for subscriber in self.many[:3]:
            email = (
                f"From: {self.words.team} <{self.sender.from_email}>\r\nTo: {subscriber.email}\r\n"
                f"Subject: {self.words.ready}\r\nMIME-Version: 1.0\r\n"
                f"Content-Type: text/html; charset=utf-8\r\n\r\n{html}\r\n"
            )
            mail_catcher.store_email(
                self.room.settings.outbox, self.sender.from_email, subscriber.email, email.encode()
            )

    def _fill_up(self, account: Account) -> None:
        """Use up the plan's subscribers and its emails: one campaign's, and some of another's."""
        readers = self.make.list(account, self.words.customers)
        self.make.subscribers(account, FREE_PEOPLE, readers)
        sender = self._sender_of(account)
        subscribers = self.session.scalars(
            select(Subscriber).where(Subscriber.account_id == account.id)
        ).all()
        email = {"locale": self.language, **self._email("digest")}
        before = self.make.campaign(account, (readers,), (sender,), name=self.words.finished, **email)
        sent_campaign(self.session, before, subscribers, self.now - timedelta(hours=8))
        before.status, before.finished_at = CampaignStatus.finished, self.now - timedelta(hours=9)
        self.limited = self.make.campaign(account, (readers,), (sender,), name=self.words.sending, **email)
        some = FREE_A_DAY - FREE_PEOPLE
        states = [S.sent] * some + [S.pending] * (FREE_PEOPLE - some)
        sent_campaign(self.session, self.limited, subscribers, self.now, states)
        self._used(sender, [(9 * 60, FREE_PEOPLE), (60, some)])

    def bring(self, content: str, state: str) -> int:
        sessions, settings = self.room.registry["sessions"], self.room.settings
        self.session.commit()  # SQLite has one writer at a time
        with sessions.begin() as session:
            job = audience.start_import(
                session,
                session.get_one(Account, self.account.id),
                session.merge(self.friends),
                filename=f"{self.words.customers}.csv",
                stream=io.BytesIO(content.encode()),
                apply=False,
                uploads=settings.uploads,
                now=self.now,
            )
            number = job.id
        if state == "reading":
            return number
        audience.run_import(sessions, settings, number)
        if state == "ready":
            return number
        with sessions.begin() as session:
            audience.apply_import(session, session.get_one(Import, number))
        if state == "applying":
            return number
        audience.run_import(sessions, settings, number)
        if state == "undone":
            with sessions.begin() as session:
                audience.undo_import(session, session.get_one(Import, number), self.now)
        return number


def _mixed(sent: int, failed: int, in_doubt: int, skipped: int) -> list[DeliveryStatus]:
    return [S.sent] * sent + [S.failed] * failed + [S.in_doubt] * in_doubt + [S.skipped] * skipped
