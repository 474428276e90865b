import csv
import io
from datetime import timedelta

import pytest

from mailganer.models import Delivery, DeliveryStatus, Reason, token_text
from mailganer.reports import (
    Filters,
    OpenFilter,
    campaign_report,
    delivery_sentence,
    recipients_csv,
    recipients_page,
)
from mailganer.reports.report import link_places
from mailganer.tracking import record_click, resubscribe_by_token, unsubscribe_by_token
from tests.support.sent import record_open, sent_campaign, token

PERSON = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
APPLE = "Mozilla/5.0"
SCANNER = "BarracudaCentral/1.0"
S = DeliveryStatus
STATUSES = [S.failed, S.failed, S.failed, S.in_doubt, S.skipped, S.bounced, S.pending]
EMAIL = (
    "<a href='https://example.com/a'>a</a> <a href='https://example.com/b?c={{ city }}'>b</a>"
    " <a href='https://example.com/a'>a again</a>"
)


@pytest.fixture
def sent(session, make, account, now):
    """Twelve recipients: seven with different outcomes, five sent."""
    readers = make.list(account)
    subscribers = [
        make.subscriber(account, f"p{n}@example.org", (readers,), first_name=f"Имя{n}") for n in range(12)
    ]
    campaign = make.campaign(account, (readers,), (make.sender(account),), html=EMAIL)
    deliveries = sent_campaign(session, campaign, subscribers, now, STATUSES)
    for delivery, reason, reply in zip(
        deliveries,
        [Reason.refused, Reason.refused, Reason.expired, Reason.interrupted, Reason.unsubscribed],
        ["550 5.1.1 no such user", "550 5.1.1 no such user", "451 later", None, None],
        strict=False,
    ):
        delivery.reason, delivery.reply = reason, reply
    session.flush()
    return campaign, deliveries


def read(session, deliveries, now):
    """Clicks: eight (human), nine (possibly), ten (scanner), eleven (unsubscribed)."""
    record_open(session, token(deliveries[8]), agent=PERSON, now=now)
    record_open(session, token(deliveries[8]), agent=PERSON, now=now + timedelta(hours=2))
    record_open(session, token(deliveries[9]), agent=APPLE, now=now)
    record_open(session, token(deliveries[10]), agent=SCANNER, now=now)
    record_click(session, token(deliveries[8]), 1, agent=PERSON, now=now + timedelta(days=4))
    record_click(session, token(deliveries[8]), 1, agent=PERSON, now=now + timedelta(days=4, hours=1))
    record_click(session, token(deliveries[10]), 2, agent=SCANNER, now=now)
    unsubscribe_by_token(session, token(deliveries[11]), now=now)
    session.commit()


def test_a_campaign_that_has_not_started_has_an_empty_report(session, make, account):
    report = campaign_report(session, make.campaign(account)).as_json()
    assert report["sent"] == 0
    assert report["opens"] == {"people_certain": 0, "people_possible": 0, "total": 0, "machine": 0}
    assert report["links"] == []
    assert report["timeline"] == []


def test_the_report_says_what_is_so(session, sent, now):
    campaign, deliveries = sent
    read(session, deliveries, now)
    report = campaign_report(session, campaign)
    assert report.as_json() | {"timeline": None} == {
        "sent": 5,
        "opens": {"people_certain": 1, "people_possible": 1, "total": 3, "machine": 1},
        "clicks": {"people": 1, "total": 2, "machine": 1},
        "links": [
            {"url": "https://example.com/a", "people": 1, "total": 2},
            {"url": "https://example.com/b?c={{ city }}", "people": 0, "total": 0},
        ],
        "unsubscribed": 1,
        "bounced": 1,
        "failed": {"refused": 2, "expired": 1},
        "skipped": {"unsubscribed": 1},
        "in_doubt": 1,
        "timeline": None,
    }
    assert report.counts.total == 12
    assert report.share(report.opens.people_at_most) == 0.4


def test_who_took_unsubscribing_back_is_in_no_number_and_in_no_hour(session, sent, now):
    campaign, deliveries = sent
    stays, returns, leaves_twice = (token(each) for each in deliveries[:3])
    for who in (stays, returns, leaves_twice):
        unsubscribe_by_token(session, who, now=now)
    for who in (returns, leaves_twice):
        resubscribe_by_token(session, who, now=now + timedelta(minutes=1))
    unsubscribe_by_token(session, leaves_twice, now=now + timedelta(hours=2))
    session.commit()
    report = campaign_report(session, campaign)
    assert report.unsubscribed == 2
    assert [each.unsubscribes for each in report.timeline if each.unsubscribes] == [1, 1]


def test_troubles_come_with_the_servers_own_words(session, sent):
    campaign, _deliveries = sent
    troubles = campaign_report(session, campaign).troubles
    assert [
        (each.status, each.reason, each.number, each.replies) for each in troubles if each.status == S.failed
    ] == [
        (S.failed, Reason.refused, 2, ("550 5.1.1 no such user",)),
        (S.failed, Reason.expired, 1, ("451 later",)),
    ]
    assert {each.status for each in troubles} == {S.failed, S.in_doubt, S.skipped, S.bounced}


def test_words_that_differ_only_in_the_address_they_name_are_quoted_once(session, sent):
    campaign, deliveries = sent
    refused = [each for each in deliveries if each.reason == Reason.refused]
    for each in refused:
        each.reply = f"550 5.1.1 <{each.email}>: no such user"
    session.flush()
    trouble = next(
        each for each in campaign_report(session, campaign).troubles if each.reason == Reason.refused
    )
    assert trouble.number == len(refused) == 2
    assert trouble.replies in [(each.reply,) for each in refused]


def test_the_timeline_is_hourly_for_two_days_and_then_daily(session, sent, now):
    campaign, deliveries = sent
    read(session, deliveries, now)
    moments = campaign_report(session, campaign).timeline
    start = now - timedelta(hours=1)
    assert [each.hours for each in moments] == [1] * 48 + [24] * 3
    assert moments[0].at == start
    assert (moments[1].at, moments[1].opens, moments[1].unsubscribes) == (now, 2, 1)
    assert moments[3].opens == 1
    assert (moments[-1].at, moments[-1].clicks) == (start + timedelta(days=4), 2)
    assert sum(each.opens for each in moments) == 3
    assert moments[1].as_json()["at"] == "2026-11-23T09:00:00+00:00"


def test_the_timeline_of_a_young_campaign_ends_now(session, sent, now):
    campaign, _deliveries = sent
    assert len(campaign_report(session, campaign, now).timeline) == 2
    assert len(campaign_report(session, campaign, now + timedelta(days=30)).timeline) == 48


def test_links_of_two_versions_of_an_email_are_one_when_they_lead_to_one_address(session, sent, now):
    from mailganer.campaigns.frozen_emails import freeze

    campaign, deliveries = sent
    record_click(session, token(deliveries[7]), 1, agent=PERSON, now=now)
    campaign.html = (
        "<p>Sorry.</p> <a href='https://example.com/a'>a</a> <a href='https://example.com/new'>n</a>"
    )
    freeze(session, campaign, now)
    for delivery in deliveries[8:]:
        delivery.frozen_email_id = campaign.frozen_email_id
    record_click(session, token(deliveries[8]), 1, agent=PERSON, now=now)
    record_click(session, token(deliveries[8]), 2, agent=PERSON, now=now)
    session.commit()
    links = {link.url: link for link in campaign_report(session, campaign).links}
    assert links["https://example.com/a"].people == 2
    assert links["https://example.com/new"].people == 1
    found = recipients_page(session, campaign, filters=Filters(link=links["https://example.com/a"].key))
    assert [each.id for each in found.items] == [deliveries[7].id, deliveries[8].id]


def emails(page):
    return [each.email for each in page.items]


def test_every_number_has_its_recipients(session, sent, now):
    campaign, deliveries = sent
    read(session, deliveries, now)
    report = campaign_report(session, campaign)

    def subscribers(**filters):
        return emails(recipients_page(session, campaign, filters=Filters(**filters)))

    assert subscribers(opened=OpenFilter.certain) == ["p8@example.org"]
    assert subscribers(opened=OpenFilter.possible) == ["p9@example.org"]
    assert len(subscribers(opened=OpenFilter.any)) == report.opens.people_at_most
    assert subscribers(opened=OpenFilter.machine) == ["p10@example.org"]
    assert subscribers(opened=OpenFilter.none) == ["p7@example.org", "p10@example.org", "p11@example.org"]
    assert subscribers(clicked=True) == ["p8@example.org"]
    assert len(subscribers(clicked=False)) == 11
    assert subscribers(link=report.links[0].key) == ["p8@example.org"]
    assert subscribers(link=report.links[1].key) == []
    assert subscribers(link="nonsense") == []
    assert subscribers(left=True) == ["p11@example.org"]
    assert len(subscribers(status=S.failed)) == 3
    assert subscribers(status=S.failed, reason=Reason.expired) == ["p2@example.org"]


def test_recipients_are_found_by_a_part_of_their_address_or_name(session, sent):
    campaign, _deliveries = sent
    assert emails(recipients_page(session, campaign, query="P1@")) == ["p1@example.org"]
    assert emails(recipients_page(session, campaign, query="имя11")) == ["p11@example.org"]
    assert emails(recipients_page(session, campaign, query="100%_\x00'")) == []


def test_pages_follow_each_other_without_gap_or_repeat(session, sent):
    campaign, deliveries = sent
    seen, after = [], None
    while True:
        page = recipients_page(session, campaign, after=after, limit=5)
        seen += [each.id for each in page.items]
        after = page.next
        if after is None:
            break
    assert seen == [each.id for each in deliveries]
    assert recipients_page(session, campaign).names[deliveries[3].id] == "Имя3"


def test_a_cursor_of_another_campaign_shows_nothing_of_it(session, make, account, sent, now):
    campaign, deliveries = sent
    other = make.campaign(account, (), (make.sender(account),))
    sent_campaign(session, other, [make.subscriber(account, "other@example.org")], now)
    assert emails(recipients_page(session, campaign, after=1)) == [each.email for each in deliveries]
    assert emails(recipients_page(session, campaign, after=deliveries[-1].id)) == []


def test_the_file_holds_everyone_and_no_formula(sessions, session, sent, now):
    campaign, deliveries = sent
    deliveries[0].reply = '=HYPERLINK("https://evil")'
    deliveries[1].email = "+1@example.org"
    read(session, deliveries, now)
    data = b"".join(recipients_csv(sessions, campaign.id))
    assert data.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))
    assert len(rows) == 12
    assert rows[0]["Server reply"].startswith("'=")
    assert rows[1]["Address"] == "'+1@example.org"
    assert rows[2]["Reason"] == "The server deferred the email for a whole day."
    assert (rows[8]["Opens"], rows[8]["Clicks"], rows[8]["Confirmed open"]) == ("2", "2", "1")
    assert rows[3]["Sent"] == ""
    assert rows[7]["Sent"] == "2026-11-23T08:00:00+00:00"
    assert token_text(deliveries[7].token) not in data.decode()
    assert len(list(csv.reader(io.StringIO(data.decode("utf-8-sig"))))) == 13


def test_the_file_of_many_comes_in_pieces_and_whole(sessions, session, make, account, now, monkeypatch):
    monkeypatch.setattr("mailganer.reports.recipients._AT_ONCE", 3)
    campaign = make.campaign(account, (), (make.sender(account),))
    subscribers = [make.subscriber(account, f"p{n}@example.org") for n in range(10)]
    sent_campaign(session, campaign, subscribers, now)
    session.commit()
    text = b"".join(recipients_csv(sessions, campaign.id)).decode("utf-8-sig")
    assert [row["Address"] for row in csv.DictReader(io.StringIO(text))] == [
        each.email for each in subscribers
    ]


def test_the_file_of_a_filter_has_only_its_recipients(sessions, session, sent):
    campaign, _deliveries = sent
    session.commit()
    text = b"".join(recipients_csv(sessions, campaign.id, Filters(status=S.in_doubt))).decode("utf-8-sig")
    assert [row["Address"] for row in csv.DictReader(io.StringIO(text))] == ["p3@example.org"]


def test_the_email_is_read_once_for_the_file_of_who_followed_a_link(
    sessions, session, sent, now, monkeypatch
):
    campaign, deliveries = sent
    read(session, deliveries, now)
    key = next(each.key for each in campaign_report(session, campaign).links if each.people)
    session.commit()
    looked = []

    def counted(*arguments):
        looked.append(arguments)
        return link_places(*arguments)

    monkeypatch.setattr("mailganer.reports.recipients._AT_ONCE", 1)
    monkeypatch.setattr("mailganer.reports.recipients.link_places", counted)
    text = b"".join(recipients_csv(sessions, campaign.id, Filters(link=key))).decode("utf-8-sig")
    assert [row["Address"] for row in csv.DictReader(io.StringIO(text))] == ["p8@example.org"]
    assert len(looked) == 1


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_its_sentence(reason):
    assert delivery_sentence(reason).interpolate().endswith(".")


def test_no_reason_no_sentence():
    assert delivery_sentence(None) == ""


def test_an_erased_subscriber_is_still_counted(session, sent, now):
    campaign, deliveries = sent
    read(session, deliveries, now)
    delivery = session.get(Delivery, deliveries[8].id)
    delivery.subscriber_id, delivery.email, delivery.email_key = None, "", f"erased {delivery.id}"
    session.flush()
    report = campaign_report(session, campaign)
    assert report.opens.people_certain == 1
    page = recipients_page(session, campaign, filters=Filters(opened=OpenFilter.certain))
    assert (page.items[0].email, page.names[delivery.id]) == ("", "")
