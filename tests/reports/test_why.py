"""Why a recipient got an email or did not: only what the rows prove."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from mailganer.accounts import limit_sender, mark_ready
from mailganer.audience import AddressError, add_to_list, erase_subscriber, remove_from_list
from mailganer.audience.suppression import resubscribe, suppress, unsubscribe
from mailganer.backends import load_backends
from mailganer.campaigns.frozen_emails import freeze
from mailganer.errors import NotFound
from mailganer.i18n.translator import translate_sentence
from mailganer.models import (
    Batch,
    BatchState,
    CampaignStatus,
    Delay,
    DelayCause,
    Delivery,
    DeliveryStatus,
    Reason,
    SenderStatus,
    SubscriberStatus,
    Usage,
    make_message_id,
)
from mailganer.reports import ExplanationCode, ExplanationContext, why_address, why_email, why_subscriber
from mailganer.reports.explanation_steps import _CAUSES, _SENTENCES
from mailganer.tracking import record_click, unsubscribe_by_token
from tests.support.sent import record_open, sent_campaign, token

S = DeliveryStatus
PERSON = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
OK = "250 2.0.0 kept as 4711"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def registry(settings):
    return load_backends(settings.backends, settings.backend_options)


@pytest.fixture
def readers(make, account):
    return make.list(account, "Readers")


@pytest.fixture
def anna(make, account, readers, now):
    make.now = now - DAY  # on the list since yesterday
    subscriber = make.subscriber(account, "anna@example.org", (readers,))
    make.now = now
    return subscriber


@pytest.fixture
def campaign(make, account, readers):
    return make.campaign(account, (readers,), (make.sender(account),))


@pytest.fixture
def context(session, campaign, settings, registry, now):
    return ExplanationContext(session, campaign, now, settings, registry)


@pytest.fixture
def email(session, campaign, anna, now):
    """Anna's email, an hour ago: ``email(S.failed, reply="550")``."""

    def make_email(status=S.sent, **values):
        delivery = sent_campaign(session, campaign, [anna], now, [status], **values)[0]
        if status in (S.pending, S.sending):
            delivery.frozen_email_id = delivery.sender_id = None
        session.flush()
        return delivery

    return make_email


def at(moment):
    return f"{moment:%d %H:%M}"


def said(why):
    """Return code and sentence of every step."""
    return {step.code.value: translate_sentence(step.sentence(at)) for step in why.steps}


def codes(why):
    return [step.code.value for step in why.steps]


def step(why, code):
    return next(each for each in why.steps if each.code == code)


def test_every_code_and_every_cause_has_its_sentence():
    assert set(_SENTENCES) == set(ExplanationCode)
    assert set(_CAUSES) == set(Reason) - {
        Reason.refused,
        Reason.expired,
        Reason.interrupted,
        Reason.disconnected,
        Reason.cancelled,
    }


# --- the email was sent


def test_an_accepted_email_from_the_list_to_the_servers_own_words(context, anna, email):
    email(reply=OK, attempts=1)
    why = why_subscriber(context, anna)
    assert codes(why) == ["on_list", "planned", "accepted", "not_opened"]
    assert said(why) == {
        "on_list": "In the list “Readers” since 22 09:00.",
        "planned": "An email to anna@example.org was planned on 23 08:00.",
        "accepted": "The server of anna@example.com accepted the email on 23 08:00.",
        "not_opened": "No opens so far.",
    }
    assert step(why, ExplanationCode.accepted).details() == {
        "since": context.now - HOUR,
        "sender": "anna@example.com",
        "reply": OK,
    }


def test_the_same_answer_by_subscriber_by_email_and_by_address(context, anna, email):
    delivery = email(reply=OK)
    assert (
        why_subscriber(context, anna)
        == why_email(context, delivery)
        == why_address(context, " ANNA@example.org ")
    )


def test_several_lists_make_one_email(context, make, account, campaign, anna, email, session, now):
    friends = make.list(account, "Friends")
    campaign.lists.append(friends)
    add_to_list(session, friends, anna, now - 2 * DAY)
    email(reply=OK)
    why = why_subscriber(context, anna)
    assert codes(why)[:3] == ["on_list", "on_list", "one_letter"]
    assert [each.lists for each in why.steps[:2]] == [("Friends",), ("Readers",)]


def test_several_attempts_and_the_version_among_several_are_explained(
    session, context, campaign, anna, email, now
):
    email(reply=OK, attempts=3, first_tried_at=now - 2 * HOUR)
    campaign.html += "<p>PS</p>"
    freeze(session, campaign, now)
    why = why_subscriber(context, anna)
    assert said(why)["tries"] == "Attempts: 3, the first on 23 07:00."
    assert said(why)["version"] == "This was version 1 of the email."


def test_reactions_are_explained_in_order(session, context, anna, email, now):
    delivery = email(reply=OK)
    record_open(session, token(delivery), agent=PERSON, now=now)
    record_click(session, token(delivery), 1, agent=PERSON, now=now + HOUR)
    unsubscribe_by_token(session, token(delivery), now=now + 2 * HOUR)
    session.flush()
    why = why_subscriber(context, anna)
    assert codes(why)[-4:] == ["accepted", "opened", "clicked", "unsubscribed"]
    assert said(why)["clicked"] == "Clicked a link, first on 23 10:00. Clicks: 1."
    assert said(why)["unsubscribed"] == "Unsubscribed through this email on 23 11:00."


def test_a_machine_is_not_called_a_recipient_and_an_uncounted_open_is_not_called_none(
    session, context, campaign, anna, email, now
):
    delivery = email(reply=OK)
    record_open(session, token(delivery), agent="BarracudaCentral/1.0", now=now)
    assert "opened_by_machine" in codes(why_subscriber(context, anna))
    delivery.machine_opens, campaign.track_opens = 0, False
    assert "opens_not_counted" in codes(why_subscriber(context, anna))


def test_an_email_that_came_back_was_accepted_first(context, anna, email):
    email(S.bounced, reply=OK)
    assert codes(why_subscriber(context, anna))[-2:] == ["accepted", "bounced"]


def test_a_refused_email_has_failed_in_the_servers_words(context, anna, email):
    email(S.failed, reason=Reason.refused, reply="550 5.1.1 no such user", attempts=1)
    why = why_subscriber(context, anna)
    assert codes(why) == ["on_list", "planned", "refused"]
    assert step(why, ExplanationCode.refused).reply == "550 5.1.1 no such user"


def test_an_email_put_off_for_a_day_was_given_up(context, anna, email, now):
    email(S.failed, reason=Reason.expired, reply="452 full", attempts=9, first_tried_at=now - DAY)
    why = why_subscriber(context, anna)
    assert codes(why)[-2:] == ["tries", "expired"]
    assert said(why)["tries"] == "Attempts: 9, the first on 22 09:00."


# --- doubt


def test_a_doubtful_email_has_its_reason_and_message_id(context, campaign, anna, email, now):
    delivery = email(S.in_doubt, reason=Reason.disconnected, not_before=now + HOUR)
    why = why_subscriber(context, anna)
    assert codes(why) == ["on_list", "planned", "disconnected", "in_doubt", "to_be_looked_up"]
    message_id = make_message_id(delivery.id, delivery.token, campaign.message_domain)
    assert step(why, ExplanationCode.in_doubt).message_id == f"<{message_id}>"
    assert "On 23 10:00, Mailganer asks the server" in said(why)["to_be_looked_up"]
    delivery.not_before = None  # the server does not know, or did not respond
    assert codes(why_subscriber(context, anna))[-1] == "your_word"


def test_a_doubt_ended_by_a_word_says_whose(context, anna, email, now):
    delivery = email(attempts=1, decided_by="boss@example.com", decided_at=now - HOUR)
    assert said(why_subscriber(context, anna))["counts_as_sent"].endswith(
        "boss@example.com marked it as sent on 23 08:00."
    )
    delivery.decided_at, delivery.reply = now - 2 * HOUR, OK  # deferred before, then accepted
    why = why_subscriber(context, anna)
    assert codes(why)[2:4] == ["said_again", "accepted"]
    assert "counts_as_sent" not in codes(why)


def test_a_doubt_that_the_server_ended_says_so(context, anna, email, now):
    delivery = email(attempts=1, decided_at=now - HOUR)
    assert "looked_up" in codes(why_subscriber(context, anna))
    delivery.decided_at, delivery.reply = now - 2 * HOUR, OK
    assert codes(why_subscriber(context, anna))[2:4] == ["not_there", "accepted"]


def test_an_earlier_answer_is_not_taken_for_the_last_one(session, context, anna, email, now):
    """A doubt that a recipient's open resolved keeps the reply of the earlier attempt."""
    delivery = email(attempts=2, reply="451 4.2.0 later", first_tried_at=now - 2 * HOUR)
    assert "unanswered" in codes(why_subscriber(context, anna))
    record_open(session, token(delivery), agent=PERSON, now=now)
    why = why_subscriber(context, anna)
    assert "in_hand" in codes(why)
    assert "451" not in str(said(why))


# --- skipped


def test_who_unsubscribed_after_planning_was_left_out_because_of_that(session, context, anna, email, now):
    unsubscribe(session, anna, reason="by hand", now=now - 90 * timedelta(minutes=1))
    email(S.skipped, reason=Reason.unsubscribed)
    assert said(why_subscriber(context, anna))["left_out"] == (
        "Skipped on 23 08:00: emails were blocked manually on 23 07:30."
    )


def test_a_day_that_is_no_longer_known_is_not_made_up(session, context, anna, email, now):
    email(S.skipped, reason=Reason.unsubscribed)  # and has subscribed again since
    assert said(why_subscriber(context, anna))["left_out"].endswith(": unsubscribed.")
    unsubscribe(session, anna, reason="api", now=now)  # and unsubscribed once more, later than that
    assert said(why_subscriber(context, anna))["left_out"].endswith(": unsubscribed.")


def test_an_email_that_could_not_be_made_says_what_was_wrong(context, anna, email):
    email(S.skipped, reason=Reason.render_error, reply="division by zero")
    why = why_subscriber(context, anna)
    assert "could not be rendered with this recipient's data" in said(why)["left_out"]
    assert step(why, ExplanationCode.left_out).words == "division by zero"
    assert step(why, ExplanationCode.left_out).reply == ""


def test_a_stopped_campaign_left_the_waiting_out(context, campaign, anna, email, now):
    delivery = email(S.pending)
    campaign.status, campaign.finished_at = CampaignStatus.cancelled, now
    assert codes(why_subscriber(context, anna))[-1] == "stopping"
    delivery.status, delivery.reason, delivery.settled_at = S.skipped, Reason.cancelled, now
    assert (
        said(why_subscriber(context, anna))["stopped"] == "Skipped on 23 09:00: the campaign was cancelled."
    )


def test_the_email_of_an_erased_subscriber_keeps_its_explanation_and_not_its_recipient(
    session, context, anna, email, now
):
    delivery = email(reply=OK)
    suppress(session, anna, SubscriberStatus.complained, reason="", now=now)
    erase_subscriber(session, anna)
    session.refresh(delivery)
    why = why_email(context, delivery)
    assert codes(why)[:2] == ["erased", "planned"]
    assert said(why)["planned"] == "An email was planned on 23 08:00."
    assert "anna@example.org" not in str(said(why))
    assert why.address == ""
    by_address = why_address(context, "anna@example.org")
    assert codes(by_address) == ["unknown", "forgotten"]
    assert "marked an email as spam on 23 09:00" in said(by_address)["forgotten"]


def test_an_erased_subscriber_who_waits_will_be_skipped(session, context, anna, email):
    delivery = email(S.pending)
    erase_subscriber(session, anna)
    session.refresh(delivery)
    assert said(why_email(context, delivery))["to_be_left_out"].endswith("subscriber deleted.")


def test_another_address_since_then_is_explained(session, context, anna, email):
    email(reply=OK)
    anna.email = anna.email_key = "anna@new.example"
    session.flush()
    why = why_address(context, "anna@example.org")
    assert why == why_address(context, "anna@new.example")
    assert said(why)["moved"] == "The recipient's address is now anna@new.example."
    assert "to anna@example.org was planned" in said(why)["planned"]


def test_a_list_left_since_then_is_not_claimed(session, context, anna, readers, email):
    email(reply=OK)
    remove_from_list(session, readers, anna)
    assert codes(why_subscriber(context, anna))[0] == "left_lists"
    context.campaign.lists.clear()
    session.flush()
    assert codes(why_subscriber(context, anna))[0] == "lists_deleted"


# --- waiting


@pytest.fixture
def waiting(session, campaign, email):
    delivery = email(S.pending)
    session.flush()
    return delivery


def test_a_free_way_has_only_a_turn(session, make, account, context, campaign, readers, now):
    subscribers = [make.subscriber(account, f"p{n}@example.org", (readers,)) for n in range(7)]
    sent_campaign(session, campaign, subscribers, now, [S.sent] + [S.pending] * 6)
    first, second = session.scalars(select(Batch).order_by(Batch.number))
    first.state = second.state = BatchState.open
    session.flush()
    assert codes(why_subscriber(context, subscribers[1]))[-1] == "next"
    assert said(why_subscriber(context, subscribers[6]))["turn"] == (
        "Waiting in the queue. Emails that may be sent before it: 5."
    )
    first.not_before = now + HOUR  # deferred recipients hold up no others
    session.flush()
    assert step(why_subscriber(context, subscribers[6]), ExplanationCode.turn).number == 2


def test_a_used_up_sender_is_waited_for(session, context, campaign, anna, waiting, now):
    sender = campaign.senders[0]
    limit_sender(sender, per_day=10)
    minute = int((now - 20 * HOUR).timestamp()) // 60
    session.add(Usage(sender_id=sender.id, account_id=sender.account_id, minute=minute, emails=10))
    session.flush()
    wanted = "Waiting until 23 13:01 for anna@example.com, which has reached its limit for 24 hours."
    assert said(why_subscriber(context, anna))["quota"] == wanted
    sender.status, sender.sleeps_until = SenderStatus.sleeping, now + 4 * HOUR + timedelta(minutes=1)
    session.flush()
    assert said(why_subscriber(context, anna))["quota"] == wanted


def test_no_one_waits_for_a_sender_while_another_one_is_free(session, make, account, context, campaign, anna):
    full = campaign.senders[0]
    campaign.senders.append(make.sender(account, from_email="second@example.com"))
    sent_campaign(session, campaign, [anna], context.now, [S.pending])
    full.status, full.sleeps_until = SenderStatus.sleeping, context.now + HOUR
    session.flush()
    assert not {"quota", "resting"} & {*codes(why_subscriber(context, anna))}
    campaign.senders[1].status, campaign.senders[1].error = SenderStatus.failing, "Refused. 535 no"
    session.flush()
    why = said(why_subscriber(context, anna))
    assert why["resting"] == "Waiting for anna@example.com, which resumes on 23 10:00."
    assert why["failing"] == "second@example.com cannot send until its problem is fixed. Refused. 535 no"


def test_a_server_in_trouble_is_tried_again(session, context, campaign, anna, waiting, now):
    sender = campaign.senders[0]
    sender.status, sender.sleeps_until, sender.failures = SenderStatus.sleeping, now + HOUR, 2
    sender.error = "No answer."
    session.flush()
    assert said(why_subscriber(context, anna))["trouble"] == (
        "Waiting for the server of anna@example.com. Next attempt on 23 10:00. No answer."
    )


def test_a_server_that_someone_has_looked_at_meanwhile_is_not_called_used_up(
    session, context, campaign, anna, waiting, now
):
    sender = campaign.senders[0]
    sender.status, sender.sleeps_until = SenderStatus.sleeping, now + HOUR  # failures are reset
    hold(session, DelayCause.trouble, now - HOUR, now + HOUR, sender_id=sender.id)
    assert "trouble" in codes(why_subscriber(context, anna))


def test_a_used_up_plan_is_waited_for(session, make, context, account, anna, waiting, now):
    other = make.sender(account, from_email="other@example.com")
    minute = int((now - 2 * HOUR).timestamp()) // 60
    session.add(Usage(sender_id=other.id, account_id=account.id, minute=minute, emails=200))
    session.flush()
    assert said(why_subscriber(context, anna))["plan"] == (
        "Waiting until 24 07:01, because your plan allows 200 emails per 24 hours."
    )


def test_sending_hours_are_waited_for(context, campaign, anna, waiting):
    campaign.hours = {"days": [1, 2, 3, 4, 5], "from": "12:00", "to": "18:00", "timezone": "UTC"}
    assert said(why_subscriber(context, anna))["hours"] == (
        "Waiting for the sending hours, which start on 23 12:00."
    )


def test_a_deferred_email_is_tried_again_at_its_time(session, context, anna, waiting, now):
    waiting.not_before, waiting.reply, waiting.attempts = now + HOUR, "452 4.2.2 mailbox full", 1
    why = why_subscriber(context, anna)
    assert codes(why) == ["on_list", "planned", "put_off"]
    assert said(why)["put_off"] == "The server deferred the email. Next attempt not before 23 10:00."
    assert step(why, ExplanationCode.put_off).reply == "452 4.2.2 mailbox full"
    waiting.not_before = now - HOUR
    assert codes(why_subscriber(context, anna))[-1] == "due_again"


@pytest.mark.parametrize(("reason", "code"), [(None, "paused"), ("The email is broken.", "halted")])
def test_a_paused_campaign_is_waited_for(context, campaign, anna, waiting, reason, code):
    campaign.status, campaign.paused_reason = CampaignStatus.paused, reason
    why = said(why_subscriber(context, anna))
    assert code in why
    assert (reason or "") in why[code]


def test_who_has_left_meanwhile_will_be_left_out(session, context, anna, waiting, now):
    unsubscribe(session, anna, reason="by hand", now=now)
    assert codes(why_subscriber(context, anna))[-1] == "to_be_left_out"


def test_an_email_on_its_way_says_through_whom(context, campaign, anna, email):
    delivery = email(S.sending)
    delivery.sender_id = campaign.senders[0].id
    assert said(why_subscriber(context, anna))["sending"] == "Being sent right now through anna@example.com."


# --- what it waited for


def hold(session, cause, since, until, **owner):
    session.add(Delay(cause=cause, since=since, until=until, **owner))
    session.flush()


def test_waits_that_are_over_stand_in_the_order_of_time(session, context, campaign, anna, email, now):
    delivery = email(reply=OK, dated_at=now - 20 * HOUR)
    sender = campaign.senders[0].id
    hold(session, DelayCause.quota, now - 19 * HOUR, now - 4 * HOUR, sender_id=sender)
    hold(session, DelayCause.paused, now - 3 * HOUR, now - 2 * HOUR, campaign_id=campaign.id)
    hold(session, DelayCause.plan, now - 22 * HOUR, now - 19 * HOUR, account_id=campaign.account_id)
    # None of these delayed this email: before it was planned, after it was sent, not over.
    hold(session, DelayCause.trouble, now - 22 * HOUR, now - 21 * HOUR, sender_id=sender)
    hold(session, DelayCause.quota, now - HOUR, now, sender_id=sender)
    hold(session, DelayCause.halted, now - 2 * HOUR, None, campaign_id=campaign.id)
    why = why_email(context, delivery)
    assert codes(why)[2:-1] == ["waited_plan", "waited_quota", "waited_paused", "accepted"]
    assert said(why)["waited_quota"] == (
        "Waited until 23 05:00 for anna@example.com, which had reached its limit for 24 hours."
    )


def test_the_same_wait_several_times_is_one_step(session, context, campaign, anna, email, now):
    delivery = email(reply=OK, dated_at=now - 20 * HOUR)
    for ago in (15, 10, 5):
        hold(session, DelayCause.paused, now - ago * HOUR, now - (ago - 1) * HOUR, campaign_id=campaign.id)
    assert said(why_email(context, delivery))["waited_paused"].endswith("Waits: 3, the last until 23 05:00.")


def test_of_two_senders_the_one_that_continues_first_was_waited_for(
    session, make, account, context, campaign, anna, now
):
    first, second = campaign.senders[0], make.sender(account, from_email="second@example.com")
    campaign.senders.append(second)
    delivery = sent_campaign(session, campaign, [anna], now, reply=OK, dated_at=now - 20 * HOUR)[0]
    hold(session, DelayCause.quota, now - 19 * HOUR, now - 5 * HOUR, sender_id=first.id)
    assert "waited_quota" not in codes(why_email(context, delivery))
    hold(session, DelayCause.trouble, now - 10 * HOUR, now - 9 * HOUR, sender_id=second.id)
    why = said(why_email(context, delivery))
    assert why["waited_trouble"].startswith("Waited until 23 00:00 for the server of second@example.com")
    assert "waited_quota" not in why


def test_nights_outside_the_sending_hours_are_counted(context, campaign, anna, email, now):
    campaign.hours = {"days": [1, 2, 3, 4, 5], "from": "10:00", "to": "18:00", "timezone": "UTC"}
    delivery = email(reply=OK, dated_at=now, settled_at=now + 2 * DAY + 2 * HOUR)
    assert said(why_email(context, delivery))["waited_hours"].endswith("Waits: 3, the last until 25 10:00.")
    delivery.dated_at, delivery.settled_at = now + 2 * HOUR, now + 3 * HOUR
    assert "waited_hours" not in codes(why_email(context, delivery))


@pytest.mark.parametrize("cause", [DelayCause.quota, DelayCause.trouble])
def test_a_rest_that_a_user_cut_short_is_not_given_an_end(
    session, context, campaign, anna, email, now, cause
):
    delivery, sender = email(reply=OK, dated_at=now - 20 * HOUR), campaign.senders[0]
    sender.sleeps_until = now - 2 * HOUR
    hold(session, cause, now - 19 * HOUR, sender.sleeps_until, sender_id=sender.id)
    assert f"waited_{cause}" in codes(why_email(context, delivery))
    if cause is DelayCause.quota:
        sender.status = SenderStatus.sleeping
        limit_sender(sender, per_day=5000)
    else:
        sender.status = SenderStatus.failing
        mark_ready(sender, now=now - 3 * HOUR)
    session.expire_all()
    assert f"waited_{cause}" not in codes(why_email(context, delivery))


# --- no email


@pytest.fixture
def others(session, make, account, readers, campaign, now):
    """The campaign was sent to another recipient an hour ago."""
    return sent_campaign(session, campaign, [make.subscriber(account, "first@example.org", (readers,))], now)


def test_who_had_unsubscribed_before_has_no_email_because_of_that(
    session, make, account, context, anna, others, now
):
    unsubscribe(session, anna, reason="api", now=now - 2 * HOUR)
    why = why_subscriber(context, anna)
    assert codes(why) == ["on_list", "gathered", "excluded"]
    assert said(why)["excluded"] == ("No email was planned: emails were blocked by a program on 23 07:00.")
    assert step(why, ExplanationCode.excluded).details()["reason"] == Reason.unsubscribed


def test_it_is_said_by_whose_email_a_subscriber_unsubscribed(
    session, make, account, context, anna, others, now
):
    october = make.campaign(account, (), tuple(context.campaign.senders), name="October")
    earlier = sent_campaign(session, october, [anna], now - DAY)[0]
    unsubscribe_by_token(session, token(earlier), now=now - 20 * HOUR)
    session.flush()
    assert said(why_subscriber(context, anna))["excluded"].endswith(
        "unsubscribed on 22 13:00 through an email of “October”."
    )


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (SubscriberStatus.bounced, "undeliverable on 23 07:00"),
        (SubscriberStatus.complained, "marked an email as spam on 23 07:00"),
    ],
)
def test_who_was_suppressed_before_has_no_email(session, context, anna, others, now, status, words):
    suppress(session, anna, status, reason="550 5.1.1 gone", now=now - 2 * HOUR)
    why = why_subscriber(context, anna)
    assert said(why)["excluded"] == f"No email was planned: {words}."
    assert step(why, ExplanationCode.excluded).details().get("reply", "550 5.1.1 gone") == "550 5.1.1 gone"


def test_who_has_never_confirmed_has_no_email(session, context, anna, others):
    anna.status = SubscriberStatus.unconfirmed
    anna.created_at = context.now - DAY
    assert said(why_subscriber(context, anna))["excluded"].endswith("subscription not confirmed.")


def test_who_came_later_has_no_email(session, make, account, context, readers, others):
    late = make.subscriber(account, "late@example.org", (readers,))
    why = why_subscriber(context, late)
    assert codes(why) == ["on_list", "gathered", "joined_later"]
    assert said(why)["joined_later"] == (
        "No email was planned: added to the list “Readers” on 23 09:00, after the recipients "
        "had been selected."
    )


def test_who_came_back_later_has_no_email(session, context, anna, others, now):
    unsubscribe(session, anna, reason="email", now=now - 2 * HOUR)
    resubscribe(session, anna, now=now)
    assert codes(why_subscriber(context, anna))[-1] == "back_later"


def test_a_state_that_has_changed_since_proves_nothing(session, context, anna, others, now):
    suppress(session, anna, SubscriberStatus.bounced, reason="550", now=now - 2 * HOUR)
    unsubscribe(session, anna, reason="by hand", now=now)
    assert codes(why_subscriber(context, anna))[-1] == "state_changed"


def test_who_is_on_none_of_the_lists_has_no_email(session, make, account, context, others):
    alone = make.subscriber(account, "alone@example.org", (make.list(account, "Elsewhere"),))
    why = why_subscriber(context, alone)
    assert codes(why) == ["off_lists", "gathered", "not_planned"]
    assert said(why)["off_lists"] == "In none of the lists of this campaign: Readers."


def test_an_address_taken_over_is_written_to_once(session, context, anna, others, now):
    others[0].email = others[0].email_key = anna.email_key
    session.flush()
    assert codes(why_subscriber(context, anna))[-1] == "same_address"


def test_several_lists_without_an_email_are_only_named(session, make, account, context, anna, others, now):
    friends = make.list(account, "Friends")
    context.campaign.lists.append(friends)
    add_to_list(session, friends, anna, now - 2 * DAY)
    assert codes(why_subscriber(context, anna)) == ["on_list", "on_list", "gathered", "not_planned"]


def test_what_is_unknown_is_not_explained(context, anna, others):
    assert codes(why_subscriber(context, anna)) == ["on_list", "gathered", "not_planned"]


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({}, "draft"),
        ({"status": CampaignStatus.scheduled, "send_at": DAY}, "scheduled"),
        ({"status": CampaignStatus.scheduled, "send_at": HOUR, "pressed_at": HOUR}, "undoable"),
        ({"status": CampaignStatus.scheduled, "send_at": -HOUR}, "starting"),
        ({"status": CampaignStatus.paused, "paused_reason": "Too late."}, "late"),
        ({"status": CampaignStatus.sending, "started_at": -HOUR}, "gathering"),
    ],
)
def test_before_a_campaign_is_planned_there_is_an_outlook(session, context, anna, now, values, code):
    for name, value in values.items():
        setattr(context.campaign, name, now + value if isinstance(value, timedelta) else value)
    assert codes(why_subscriber(context, anna)) == ["on_list", code, "would_get"]
    unsubscribe(session, anna, reason="by hand", now=now)
    assert codes(why_subscriber(context, anna)) == ["on_list", code, "would_not_get"]


def test_a_campaign_stopped_before_has_no_email(context, anna, now):
    context.campaign.status, context.campaign.finished_at = CampaignStatus.cancelled, now
    assert codes(why_subscriber(context, anna)) == ["on_list", "stopped_before"]


def test_a_campaign_that_has_got_halfway_knows_whom_it_has_passed(make, account, context, readers, now):
    make.now = now - DAY
    early = make.subscriber(account, "early@example.org", (readers,))
    anna = make.subscriber(account, "anna2@example.org", (readers,))
    context.campaign.status, context.campaign.started_at = CampaignStatus.sending, now - HOUR
    context.campaign.planned_after = early.id
    assert codes(why_subscriber(context, early))[-1] == "not_planned"
    assert codes(why_subscriber(context, anna))[-2:] == ["gathering", "would_get"]


# --- no such recipient


def test_an_unknown_address_is_said_to_be_one(make, context):
    stranger = make.account()
    make.subscriber(stranger, "theirs@example.org")
    for address in ("nobody@example.org", "theirs@example.org"):
        why = why_address(context, address)
        assert codes(why) == ["unknown"]
        assert (why.subscriber, why.delivery) == (None, None)


def test_what_is_no_address_is_asked_again(context):
    with pytest.raises(AddressError):
        why_address(context, "anna")


def test_the_subscriber_and_email_of_another_account_do_not_exist(session, make, context, now):
    stranger = make.account()
    subscriber = make.subscriber(stranger)
    campaign = make.campaign(stranger, (), (make.sender(stranger),))
    delivery = sent_campaign(session, campaign, [subscriber], now)[0]
    with pytest.raises(NotFound):
        why_subscriber(context, subscriber)
    with pytest.raises(NotFound):
        why_email(context, session.get(Delivery, delivery.id))
