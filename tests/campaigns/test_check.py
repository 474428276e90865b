from datetime import date, timedelta

import pytest

from mailganer.campaigns import Severity, update_draft
from mailganer.campaigns.variables import VariableOrigin
from mailganer.models import Import, ImportStatus, SenderStatus, SubscriberStatus, Usage


def codes(check, severity=None):
    return {problem.code for problem in check.problems if severity is None or problem.severity is severity}


def use_of(check, name):
    return next(use for use in check.variables if use.name == name)


@pytest.fixture
def write(session, campaign, now):
    """``write(html="...")`` changes the campaign and returns it."""

    def write(**changes):
        return update_draft(session, campaign, changes, now)

    return write


def test_a_campaign_with_recipients_email_and_sender_is_ready(checked, campaign):
    check = checked(campaign)
    assert check.ok
    assert check.audience == 2
    assert check.passed
    assert check.forecast.finishes_at is not None


def test_everything_that_is_missing_is_said_at_once(session, make, account, checked):
    empty = make.campaign(account, subject="", html="")
    assert codes(checked(empty), Severity.blocking) == {"no_list", "no_subject", "no_letter", "no_sender"}


def test_lists_without_recipients_block(session, make, account, checked):
    empty = make.list(account, "Empty")
    make.subscriber(account, lists=(empty,), status=SubscriberStatus.unsubscribed)
    check = checked(make.campaign(account, (empty,), (make.sender(account),)))
    assert codes(check, Severity.blocking) == {"nobody"}


def test_a_template_error_names_part_and_line(checked, write):
    check = checked(write(html="<p>one</p>\n<p>{{ first_name</p>"))
    problem = next(problem for problem in check.problems if problem.code == "email_error")
    assert problem.blocking
    assert (problem.field, problem.line) == ("html", 2)


def test_a_bomb_is_said_and_does_not_go_off(checked, write):
    check = checked(write(html="{{ 'a' * 10 ** 9 }}"))
    assert "email_error" in codes(check, Severity.blocking)


def test_an_unknown_filter_is_said(checked, write):
    assert "email_error" in codes(checked(write(html="<p>{{ first_name|shout }}</p>")), Severity.blocking)


def test_an_unknown_variable_blocks(checked, write):
    check = checked(write(html="<p>Dear {{ frist_name }}</p>"))
    assert "unknown_variable" in codes(check, Severity.blocking)
    use = use_of(check, "frist_name")
    assert (use.known, use.filled, use.empty) == (False, 0, 2)


def test_an_unknown_variable_only_warns_when_the_email_has_a_default(checked, write):
    check = checked(write(html="<p>Dear {{ nickname|default('friend') }}</p>"))
    assert check.ok
    assert "unknown_variable" in codes(check, Severity.warning)


def test_other_names_of_a_subscribers_fields_are_known_and_counted(checked, write, make, account, readers):
    make.subscriber(
        account, lists=(readers,), first_name="Анна", last_name="Иванова", birthday=date(1990, 5, 14)
    )
    check = checked(write(html="<p>{{ name }}, {{ surname }}, {{ dob|date('d MMMM', 'ru') }}</p>"))
    assert check.ok
    uses = (use for use in check.variables if use.name != "first_name")  # the subject's
    found = {use.name: (use.known, use.filled, use.empty) for use in uses}
    assert found == {"name": (True, 2, 1), "surname": (True, 1, 2), "dob": (True, 1, 2)}


def test_it_is_said_which_variable_is_meant(checked, write, make, account, readers, session, now):
    session.add(
        Import(
            account_id=account.id,
            list_id=readers.id,
            filename="people.csv",
            path="gone.csv",
            columns=["Kontakt", "Priezvisko"],
            mapping={"0": "email", "1": "last_name"},
            status=ImportStatus.done,
            created_at=now,
        )
    )
    said = checked(write(html="{{ priezvisko }} {{ frist_name }} {{ shoe_size }}")).blocking
    assert [str(problem.message.mapping.get("likely")) for problem in said] == [
        "first_name",
        "last_name",
        "None",
    ]


def test_the_campaigns_own_value_makes_a_variable_known(checked, write):
    check = checked(write(html="<p>{{ place }}</p>", variables={"place": "Moscow"}))
    assert check.ok
    assert use_of(check, "place").origin is VariableOrigin.campaign
    assert use_of(check, "place").empty == 0


def test_a_gap_is_counted_and_reported(checked, write):
    check = checked(write(html="<p>Dear {{ first_name }} of {{ city }}</p>"))
    assert check.ok
    assert codes(check, Severity.warning) >= {"empty_variable"}
    assert (use_of(check, "city").filled, use_of(check, "city").empty) == (1, 1)


@pytest.mark.parametrize(
    "html",
    [
        "<p>{{ first_name|default('friend') }}</p>",
        "<p>{{ first_name or 'friend' }}</p>",
        "<p>{% if first_name %}Dear {{ first_name }}{% endif %}</p>",
        "<p>{{ first_name|upper|default('friend') }}</p>",
        "<p>{{ first_name if first_name else 'friend' }}</p>",
    ],
)
def test_a_gap_the_email_fills_itself_is_none(checked, write, html):
    check = checked(write(html=html, subject="News"))
    assert "empty_variable" not in codes(check)


def test_the_campaigns_value_fills_the_gap(checked, write):
    check = checked(write(html="<p>{{ city }}</p>", subject="News", variables={"city": "Москва"}))
    assert use_of(check, "city").origin is VariableOrigin.gap
    assert "empty_variable" not in codes(check)


def test_what_mailganer_fills_is_known(checked, write):
    html = "<p>{{ campaign.name }} {{ sender.name }} {{ today }} <a href='{{ unsubscribe_url }}'>x</a></p>"
    assert checked(write(html=html)).ok
    assert "unknown_variable" in codes(checked(write(html="<p>{{ campaign.secret }}</p>")))


def test_an_email_without_a_way_out_gets_one_and_that_is_said(checked, campaign, write):
    assert "footer" in codes(checked(campaign), Severity.note)
    assert "footer" not in codes(checked(write(html="<a href='{{ unsubscribe_url }}'>leave</a> and more")))


def test_words_typed_into_the_html_field_are_shown_as_paragraphs_and_that_is_said(checked, write):
    check = checked(write(html="Hello {{ first_name }}!\n\nhttps://shop.test/sale\n\nBye"))
    assert "plain_words" in codes(check, Severity.note)
    assert check.shown.html.count("<p") == 3
    assert '<a href="https://shop.test/sale">' in check.shown.html
    assert "plain_words" in codes(checked(write(html="Hello<br>Ira\n\n<!-- note -->\nBye")), Severity.note)
    assert "plain_words" not in codes(checked(write(html="<p>Hello</p>\n\n<p>Bye</p>")))


def test_a_failing_sender_blocks_and_a_second_one_helps(session, make, account, checked, campaign, now):
    campaign.senders[0].status = SenderStatus.failing
    campaign.senders[0].error = "Gmail refused the password."
    assert "sender_failing" in codes(checked(campaign), Severity.blocking)
    both = [campaign.senders[0].id, make.sender(account).id]
    update_draft(session, campaign, {"senders": both}, now)
    assert "sender_failing" in codes(checked(campaign), Severity.warning)


def test_a_sleeping_sender_does_not_block(checked, campaign, now):
    campaign.senders[0].status = SenderStatus.sleeping
    campaign.senders[0].sleeps_until = now + timedelta(hours=3)
    check = checked(campaign)
    assert check.ok
    assert check.forecast.days[0].starts_at >= now + timedelta(hours=3)


def test_a_slowed_sender_is_reported_and_the_forecast_is_slow_until_it_has_its_pace_again(
    make, account, readers, checked, campaign
):
    account.plan = "pro"
    make.subscribers(account, 900, readers)
    (sender,) = campaign.senders
    sender.per_second = 1.0
    usual = checked(campaign).forecast
    assert "sender_slowed" not in codes(checked(campaign), Severity.note)
    sender.slowed_to, sender.slowed_from = 0.5, 1.0
    found = checked(campaign)
    assert "sender_slowed" in codes(found, Severity.note)
    # 902 emails at 60 a minute take a quarter of an hour; from 30 a minute on, growing, not twice as long.
    late = found.forecast.finishes_at - usual.finishes_at
    assert timedelta(minutes=3) < late < timedelta(minutes=15)


def test_the_plans_limit_is_reported_with_a_link_to_the_plans(session, account, checked, campaign, now):
    used = Usage(
        sender_id=campaign.senders[0].id,
        minute=int(now.timestamp()) // 60 - 60,
        account_id=account.id,
        emails=199,
    )
    session.add(used)
    session.flush()
    check = checked(campaign)
    problem = next(problem for problem in check.problems if problem.code == "plan_limit")
    assert problem.step == "plan"
    assert check.ok
    assert [day.emails for day in check.forecast.days] == [1, 1]


def test_a_free_address_through_a_strangers_server_is_warned_about(make, account, readers, checked):
    sender = make.sender(account, from_email="anna@mail.ru", settings={"host": "smtp.example.net"})
    assert "foreign_server" in codes(checked(make.campaign(account, (readers,), (sender,))))
    own = make.sender(account, from_email="anna@mail.ru", settings={"host": "smtp.mail.ru"})
    assert "foreign_server" not in codes(checked(make.campaign(account, (readers,), (own,))))


@pytest.mark.parametrize(
    ("html", "code"),
    [
        ("<p>" + "long " * 22_000 + "</p>", "clipped"),
        ("<img src='https://a.test/x.png' alt=''>", "only_pictures"),
        ("<img src='https://a.test/x.png'>" + "word " * 40, "no_alt"),
        ("<img src='data:image/png;base64,AA' alt=''>", "embedded_pictures"),
        ("<a href='http://a.test/'>x</a>", "plain_links"),
        ("<a href='http://localhost:80/'>x</a>", "local_links"),
        ("<a href='https://www.example.com/'>x</a>", "example_links"),
        ("<a href='#'>x</a>", "dead_links"),
        ("<form></form>", "removed"),
    ],
)
def test_what_mail_programs_dislike_is_warned_about(checked, write, html, code):
    check = checked(write(html=html))
    assert check.ok
    assert code in codes(check, Severity.warning)


def test_a_time_that_has_passed_meanwhile_blocks(checked, campaign, now):
    campaign.send_at = now - timedelta(hours=1)
    assert "past" in codes(checked(campaign), Severity.blocking)


def test_a_blank_is_a_gap_for_the_count_as_it_is_for_the_email(
    session, make, account, readers, campaign, checked, now
):
    make.subscriber(account, "blank@example.org", (readers,), first_name="  ", fields={"city": " "})
    update_draft(session, campaign, {"html": "<p>{{ first_name }}, {{ city }}</p>", "subject": "News"}, now)
    uses = {use.name: (use.filled, use.empty) for use in checked(campaign).variables}
    assert uses == {"first_name": (1, 2), "city": (1, 2)}
