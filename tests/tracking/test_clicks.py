import os
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from time import sleep

import pytest
from sqlalchemy import func, select

from mailganer.errors import NotFound
from mailganer.ledger import DeliveryChange, end_doubt
from mailganer.ledger.resolve_in_doubt import prove_seen, prove_sent
from mailganer.models import Batch, Delivery, DeliveryStatus, Event, EventKind, EventSource, token_text
from mailganer.tracking import (
    Numbers,
    campaign_numbers,
    email_for,
    find,
    record_click,
    resubscribe_by_token,
    unsubscribe_by_token,
)
from tests.support.sent import batches_are_true, record_open

PERSON = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
APPLE = "Mozilla/5.0"
PREFETCHER = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/42.0.2311.135 "
    "Safari/537.36 Edge/12.246 Mozilla/5.0"
)


def numbers_of(delivery):
    opened = delivery.first_opened_at is not None
    return Numbers(
        opened_certain=opened and delivery.certain_open,
        opened_possible=opened and not delivery.certain_open,
        opens=delivery.opens,
        machine_opens=delivery.machine_opens,
        clicked=delivery.first_clicked_at is not None,
        clicks=delivery.clicks,
        machine_clicks=delivery.machine_clicks,
        unsubscribed=delivery.unsubscribed_at is not None,
    )


def numbers(session, sent):
    return campaign_numbers(session, [sent.campaign.id])[sent.campaign.id]


def events(session, sent, kind=None):
    query = select(Event).where(Event.campaign_id == sent.campaign.id).order_by(Event.id)
    return list(session.scalars(query.where(Event.kind == kind) if kind else query))


def test_an_open_by_a_person_is_certain_and_keeps_its_first_moment(session, sent, now):
    assert record_open(session, sent.tokens[0], agent=PERSON, now=now)
    assert record_open(session, sent.tokens[0], agent=PERSON, now=now + timedelta(hours=1))
    delivery = sent.deliveries[0]
    assert (delivery.opens, delivery.certain_open, delivery.first_opened_at) == (2, True, now)
    assert numbers(session, sent) == Numbers(opened_certain=1, opens=2)
    assert [(each.kind, each.source, each.at) for each in events(session, sent)] == [
        (EventKind.open, EventSource.person, now),
        (EventKind.open, EventSource.person, now + timedelta(hours=1)),
    ]


def test_a_privacy_proxy_is_a_possible_open_until_a_person_is_seen(session, sent, now):
    record_open(session, sent.tokens[0], agent=APPLE, now=now)
    assert numbers(session, sent) == Numbers(opened_possible=1, opens=1)
    record_open(session, sent.tokens[0], agent=PERSON, now=now)
    assert numbers(session, sent) == Numbers(opened_certain=1, opens=2)


def test_a_prefetcher_opens_nothing(session, sent, now):
    record_open(session, sent.tokens[0], agent=PREFETCHER, now=now)
    assert sent.deliveries[0].first_opened_at is None
    assert numbers(session, sent) == Numbers(machine_opens=1)
    assert events(session, sent)[0].source is EventSource.machine


@pytest.mark.parametrize(
    "odd", ["", "x", "A" * 22, "A" * 21 + "B", "ü" * 22, "'; drop table delivery;--", "a" * 5000]
)
def test_an_unknown_token_counts_nothing_and_says_so_quietly(session, sent, now, odd):
    assert record_open(session, odd, agent=PERSON, now=now) is False
    with pytest.raises(NotFound):
        record_click(session, odd, 1, agent=BROWSER, now=now)
    with pytest.raises(NotFound):
        unsubscribe_by_token(session, odd, now=now)
    assert events(session, sent) == []


def test_a_click_leads_where_the_email_says_for_this_reader(session, sent, now):
    first, second = sent.tokens[0], sent.tokens[1]
    assert record_click(session, first, 1, agent=BROWSER, now=now) == "https://example.com/news"
    assert record_click(session, first, 2, agent=BROWSER, now=now) == (
        f"https://example.com/tver?for={sent.subscribers[0].email.replace('@', '%40')}"
    )
    assert record_click(session, first, 3, agent=BROWSER, now=now) == "https://anna.example/"
    assert record_click(session, second, 2, agent=BROWSER, now=now).startswith("https://example.com/%D0%BD")


@pytest.mark.parametrize(("reader", "number"), [(0, 0), (0, 5), (0, 10**30), (1, 3), (2, 3), (3, 3)])
def test_a_click_never_leads_anywhere_else(session, sent, now, reader, number):
    with pytest.raises(NotFound):
        record_click(session, sent.tokens[reader], number, agent=BROWSER, now=now)
    assert numbers(session, sent) == Numbers()
    assert events(session, sent) == []


def test_values_in_a_link_are_not_evaluated_and_break_no_header(session, sent, now):
    for reader in (4, 5):
        target = record_click(session, sent.tokens[reader], 2, agent=BROWSER, now=now)
        assert target.startswith("https://example.com/")
        assert "\r" not in target
        assert "\n" not in target
        assert "49" not in target.partition("?")[0]


def test_a_click_by_a_person_means_the_email_was_open(session, sent, now):
    record_open(session, sent.tokens[0], agent=APPLE, now=now)
    record_click(session, sent.tokens[0], 1, agent=BROWSER, now=now)
    assert numbers(session, sent) == Numbers(opened_certain=1, opens=1, clicked=1, clicks=1)
    record_click(session, sent.tokens[1], 1, agent=BROWSER, now=now)
    assert numbers(session, sent) == Numbers(opened_certain=2, opens=2, clicked=2, clicks=2)
    assert [
        (each.kind, each.link) for each in events(session, sent) if each.delivery_id == sent.deliveries[1].id
    ] == [
        (EventKind.click, 1),
        (EventKind.open, 1),
    ]


def test_a_click_by_a_scanner_means_nothing_of_the_kind(session, sent, now):
    record_click(session, sent.tokens[0], 1, agent="BarracudaCentral/1.0", now=now)
    assert numbers(session, sent) == Numbers(machine_clicks=1)


def test_who_follows_three_links_within_two_seconds_of_the_email_is_a_scanner(session, sent, now):
    arrived = sent.deliveries[0].settled_at
    record_open(session, sent.tokens[0], agent=BROWSER, now=arrived + timedelta(seconds=0.5))
    for number in (1, 2):
        record_click(session, sent.tokens[0], number, agent=BROWSER, now=arrived + timedelta(seconds=1))
    assert numbers(session, sent) == Numbers(opened_certain=1, opens=1, clicked=1, clicks=2)
    record_click(session, sent.tokens[0], 3, agent=BROWSER, now=arrived + timedelta(seconds=1.5))
    assert numbers(session, sent) == Numbers(machine_opens=1, machine_clicks=3)
    assert {each.source for each in events(session, sent)} == {EventSource.machine}
    # Then the recipient clicks.
    record_click(session, sent.tokens[0], 1, agent=BROWSER, now=now)
    assert numbers(session, sent) == Numbers(
        opened_certain=1, opens=1, machine_opens=1, clicked=1, clicks=1, machine_clicks=3
    )


def test_a_picture_that_is_written_after_the_scanners_links_is_the_scanners_too(session, sent, now):
    """Record a click as from another process or the next write."""
    arrived = sent.deliveries[0].settled_at
    for number in (1, 2, 3):
        record_click(session, sent.tokens[0], number, agent=BROWSER, now=arrived + timedelta(seconds=1))
    record_open(session, sent.tokens[0], agent=BROWSER, now=arrived + timedelta(seconds=0.5))
    assert numbers(session, sent) == Numbers(machine_opens=1, machine_clicks=3)
    record_open(session, sent.tokens[0], agent=BROWSER, now=now)  # then the recipient clicks
    assert numbers(session, sent) == Numbers(opened_certain=1, opens=1, machine_opens=1, machine_clicks=3)


def test_an_open_written_after_the_click_that_followed_it_is_the_one_the_click_implied(session, sent, now):
    seen = now - timedelta(seconds=0.3)
    record_click(session, sent.tokens[0], 1, agent=APPLE, now=now)
    record_open(session, sent.tokens[0], agent=PERSON, now=seen)
    assert numbers(session, sent) == Numbers(opened_certain=1, opens=1, clicked=1, clicks=1)
    assert sent.deliveries[0].first_opened_at == seen
    record_open(session, sent.tokens[0], agent=PERSON, now=now + timedelta(seconds=1))
    assert numbers(session, sent).opens == 2


def test_an_open_that_only_a_scanners_click_implied_is_taken_back(session, sent, now):
    arrived = sent.deliveries[0].settled_at
    for number in (1, 2, 3, 4):
        record_click(session, sent.tokens[0], number, agent=BROWSER, now=arrived)
    assert numbers(session, sent) == Numbers(machine_clicks=4)
    assert events(session, sent, EventKind.open) == []


def test_three_links_later_on_are_a_persons(session, sent, now):
    for number in (1, 2, 3):
        record_click(session, sent.tokens[0], number, agent=BROWSER, now=now)
    assert numbers(session, sent).clicks == 3


@pytest.mark.parametrize("seconds", [3, 6, 90])
def test_links_followed_in_one_burst_are_a_scanners_measured_from_the_first_hit(session, sent, seconds):
    """Fetch like a gateway that held the email for a while: the pixel first, then every link."""
    first = sent.deliveries[0].settled_at + timedelta(seconds=seconds)
    record_open(session, sent.tokens[0], agent=BROWSER, now=first)
    for number in (1, 2, 3, 4):
        record_click(
            session, sent.tokens[0], number, agent=BROWSER, now=first + timedelta(seconds=0.3 * number)
        )
    assert numbers(session, sent) == Numbers(machine_opens=1, machine_clicks=4)
    assert {each.source for each in events(session, sent)} == {EventSource.machine}


def test_a_burst_that_lasts_long_is_a_scanners_to_its_end(session, send):
    sent = send(html="".join(f"<a href='https://example.com/{number}'>{number}</a>" for number in range(20)))
    first = sent.deliveries[0].settled_at + timedelta(seconds=6)
    for number in range(1, 21):
        record_click(
            session, sent.tokens[0], number, agent=BROWSER, now=first + timedelta(seconds=0.4 * number)
        )
    assert numbers(session, sent) == Numbers(machine_clicks=20)


def test_a_burst_takes_nothing_from_the_person_who_was_there_before(session, sent, now):
    """Scan the email as after forwarding it to a recipient behind a gateway."""
    record_open(session, sent.tokens[0], agent=PERSON, now=now - timedelta(minutes=30))
    record_click(session, sent.tokens[0], 1, agent=BROWSER, now=now - timedelta(minutes=29))
    record_open(session, sent.tokens[0], agent=BROWSER, now=now)
    for number in (1, 2, 3, 4):
        record_click(session, sent.tokens[0], number, agent=BROWSER, now=now + timedelta(seconds=1))
    assert numbers(session, sent) == Numbers(
        opened_certain=1, opens=1, machine_opens=1, clicked=1, clicks=1, machine_clicks=4
    )
    assert sent.deliveries[0].first_opened_at == now - timedelta(minutes=30)
    assert sent.deliveries[0].first_clicked_at == now - timedelta(minutes=29)


def test_a_person_who_follows_links_one_after_the_other_is_no_scanner(session, sent, now):
    soon = sent.deliveries[0].settled_at + timedelta(seconds=20)
    for token, start in ((sent.tokens[0], soon), (sent.tokens[1], now)):
        for number in (1, 2, 4):
            record_click(session, token, number, agent=BROWSER, now=start + timedelta(seconds=3 * number))
    assert numbers(session, sent) == Numbers(opened_certain=2, opens=2, clicked=2, clicks=6)


def test_a_picture_written_after_a_late_burst_belongs_to_it(session, sent, now):
    for number in (1, 2, 3, 4):
        record_click(session, sent.tokens[0], number, agent=BROWSER, now=now)
    record_open(session, sent.tokens[0], agent=BROWSER, now=now - timedelta(seconds=1))
    assert numbers(session, sent) == Numbers(machine_opens=1, machine_clicks=4)


@pytest.mark.parametrize("agent", ["python-requests/2.32.3", "Go-http-client/2.0", "Java/17.0.9"])
def test_what_an_http_library_fetches_is_a_machines(session, sent, now, agent):
    record_open(session, sent.tokens[0], agent=agent, now=now)
    record_click(session, sent.tokens[0], 1, agent=agent, now=now)
    assert numbers(session, sent) == Numbers(machine_opens=1, machine_clicks=1)


def test_what_a_campaign_does_not_track_is_not_counted(session, send, now):
    sent = send(track_opens=False, track_clicks=False)
    record_open(session, sent.tokens[0], agent=PERSON, now=now)
    assert record_click(session, sent.tokens[0], 1, agent=BROWSER, now=now) == "https://example.com/news"
    assert numbers(session, sent) == Numbers()
    assert events(session, sent) == []


def test_clicks_alone_do_not_count_opens_where_opens_are_not_tracked(session, send, now):
    sent = send(track_opens=False)
    record_click(session, sent.tokens[0], 1, agent=BROWSER, now=now)
    assert numbers(session, sent) == Numbers(clicked=1, clicks=1)


def test_a_page_that_reloads_the_picture_for_ever_does_not_fill_the_database(session, sent, now):
    for number in range(80):
        moment = now + timedelta(seconds=number)
        record_open(session, sent.tokens[0], agent=PERSON, now=moment)
        record_open(session, sent.tokens[0], agent=PREFETCHER, now=moment)
        record_click(session, sent.tokens[0], 1, agent=BROWSER, now=moment)
    assert numbers(session, sent) == Numbers(
        opened_certain=1, opens=80, machine_opens=80, clicked=1, clicks=80
    )
    assert session.scalar(select(func.count()).select_from(Event)) <= 50


@pytest.mark.parametrize("proof", ["open", "prefetch", "click", "unsubscribe"])
def test_who_holds_the_token_proves_a_doubtful_email_sent(session, send, now, proof):
    sent = send([DeliveryStatus.in_doubt, DeliveryStatus.in_doubt])
    token = sent.tokens[0]
    if proof == "open":
        record_open(session, token, agent=PERSON, now=now)
    elif proof == "prefetch":
        record_open(session, token, agent=PREFETCHER, now=now)
    elif proof == "click":
        record_click(session, token, 1, agent=BROWSER, now=now)
    else:
        unsubscribe_by_token(session, token, now=now)
    session.commit()
    assert batches_are_true(session, sent.campaign.id)
    assert [each.status for each in sent.deliveries[:2]] == [DeliveryStatus.sent, DeliveryStatus.in_doubt]
    assert sent.deliveries[0].settled_at == now - timedelta(hours=1)


def test_an_unknown_link_of_a_doubtful_email_proves_nothing_twice(session, send, now):
    sent = send([DeliveryStatus.in_doubt, DeliveryStatus.failed])
    assert prove_sent(session, sent.deliveries[0].id, now) is True
    assert prove_sent(session, sent.deliveries[0].id, now) is False
    assert prove_sent(session, sent.deliveries[1].id, now) is False
    session.commit()
    assert batches_are_true(session, sent.campaign.id)
    assert sent.deliveries[1].status is DeliveryStatus.failed


def test_a_reader_who_was_quicker_than_the_sweep_still_proves_the_email(session, send, now):
    sent = send([DeliveryStatus.sending, DeliveryStatus.sending])
    record_open(session, sent.tokens[0], agent=PREFETCHER, now=now)
    assert sent.deliveries[0].status is DeliveryStatus.sending
    for delivery in sent.deliveries[:2]:
        delivery.status = DeliveryStatus.in_doubt
    session.flush()
    assert prove_seen(session, sent.deliveries[0].id, sent.deliveries[-1].id, now) == 1
    session.expire_all()
    assert [each.status for each in sent.deliveries[:2]] == [DeliveryStatus.sent, DeliveryStatus.in_doubt]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("proof", ["open", "click", "unsubscribe"])
def test_a_reader_and_a_user_who_end_the_same_doubt_do_not_wait_for_each_other(sessions, send, now, proof):
    sent = send([DeliveryStatus.in_doubt])
    read = {
        "open": lambda own: record_open(own, sent.tokens[0], agent=PERSON, now=now),
        "click": lambda own: record_click(own, sent.tokens[0], 1, agent=BROWSER, now=now),
        "unsubscribe": lambda own: unsubscribe_by_token(own, sent.tokens[0], now=now),
    }

    def reads():
        with sessions.begin() as own:
            read[proof](own)

    with ThreadPoolExecutor(1) as reader:
        with sessions.begin() as own:
            own.execute(select(Batch).with_for_update())
            reading = reader.submit(reads)
            sleep(0.3)
            end_doubt(own, [DeliveryChange(sent.deliveries[0].id, DeliveryStatus.sent)], now)
        reading.result(10)
    with sessions() as own:
        assert own.get_one(Delivery, sent.deliveries[0].id).status is DeliveryStatus.sent
        assert batches_are_true(own, sent.campaign.id)


@pytest.mark.slow
def test_many_at_once_are_all_counted(sessions, session, sent, now):
    def one(number):
        with sessions.begin() as own:
            record_open(own, sent.tokens[number % 2], agent=PERSON, now=now)
            record_click(own, sent.tokens[number % 2], 1, agent=BROWSER, now=now)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(one, range(40)))
    assert numbers(session, sent) == Numbers(opened_certain=2, opens=40, clicked=2, clicks=40)


@pytest.mark.slow
def test_the_tally_is_the_sum_of_the_rows_whatever_happens(session, sent, now):
    chance = random.Random(3)
    arrived = sent.deliveries[0].settled_at
    for _step in range(300):
        token = chance.choice(sent.tokens)
        moment = arrived + timedelta(seconds=chance.choice([0, 1, 2, 3, 600, 90_000]))
        agent = chance.choice([PERSON, APPLE, PREFETCHER, BROWSER, "curl/8"])
        do = chance.choice(["open", "open", "click", "click", "leave", "back"])
        try:
            if do == "open":
                record_open(session, token, agent=agent, now=moment)
            elif do == "click":
                record_click(session, token, chance.choice([1, 2, 4]), agent=agent, now=moment)
            elif do == "leave":
                unsubscribe_by_token(session, token, now=moment)
            else:
                resubscribe_by_token(session, token, now=moment)
        finally:
            session.commit()
    session.expire_all()
    rows = [numbers_of(each) for each in session.scalars(select(Delivery))]
    total = Numbers(*(sum(getattr(row, name) for row in rows) for name in vars(Numbers())))
    assert numbers(session, sent) == total
    assert total.opened_certain > 0
    assert total.machine_clicks > 0


def test_the_email_in_the_browser_is_the_readers_own(session, sent):
    rendered = email_for(session, find(session, sent.tokens[0]), "https://mail.example")
    assert "Dear Анна" in rendered.html
    assert f"https://mail.example/c/{sent.tokens[0]}/1" in rendered.html
    assert f"https://mail.example/u/{sent.tokens[0]}" in rendered.html
    assert "/v/" not in rendered.html  # it is open there already


def test_an_erased_subscriber_leaves_an_email_that_can_still_be_read(session, sent):
    sent.deliveries[0].subscriber_id = None
    session.flush()
    found = find(session, sent.tokens[0])
    assert found.subscriber is None
    assert "Dear friend" in email_for(session, found, "https://mail.example").html


def test_an_email_that_is_not_frozen_yet_is_not_shown(session, sent):
    sent.deliveries[0].frozen_email_id = sent.campaign.frozen_email_id = None
    session.flush()
    with pytest.raises(NotFound):
        email_for(session, find(session, sent.tokens[0]), "https://mail.example")


def test_another_token_of_the_same_shape_finds_nothing(session, sent):
    with pytest.raises(NotFound):
        find(session, token_text(os.urandom(16)))
