from datetime import date
from pathlib import Path

from mailganer.audience import subscriber_values
from mailganer.campaigns import preview, update_draft
from mailganer.campaigns.preview import (
    hardest_recipient,
    previous_recipient,
    recipient_page,
    sample_recipient,
)
from mailganer.rendering import MessageRenderer

from ..rendering.conftest import COPY, ENVELOPE, email_of, part


def test_the_email_is_shown_as_a_reader_gets_it(session, campaign, now):
    html = "<p>{{ first_name|default('друг') }}, {{ city }}, {{ list.name }}, {{ campaign.name }}</p>"
    update_draft(session, campaign, {"html": html, "variables": {"city": "Москва"}}, now)
    olga = sample_recipient(session, campaign)
    pyotr = sample_recipient(session, campaign, olga.id)
    assert "Ольга, Казань, Readers, November" in preview(session, campaign, olga, now=now).html
    assert "друг, Москва, Readers, November" in preview(session, campaign, pyotr, now=now).html


def test_a_value_that_overrides_wins_over_the_recipients_own(session, campaign, now):
    variables = {"city": {"value": "Город {{ first_name }}", "override": True}}
    update_draft(session, campaign, {"html": "<p>{{ city }}</p>", "variables": variables}, now)
    assert "Город Ольга" in preview(session, campaign, sample_recipient(session, campaign), now=now).html


def test_an_email_can_be_previewed_before_there_are_recipients(session, make, account, now):
    campaign = make.campaign(account)
    assert "Dear friend" in preview(session, campaign, None, now=now).html


def test_a_recipient_is_shown_under_other_names_of_their_fields(session, make, account, readers, now):
    anna = make.subscriber(account, lists=(readers,), first_name="Анна", last_name="Иванова")
    campaign = make.campaign(account, (readers,), html="<p>{{ name }}; {{ fio }}; {{ imya }}</p>")
    assert "Анна Иванова; Иванова Анна; Анна" in preview(session, campaign, anna, now=now).html
    assert hardest_recipient(session, campaign) == anna


def test_the_name_of_a_recipient_is_text(session, make, account, readers, campaign, now):
    make.subscriber(account, "bad@example.org", (readers,), first_name="{{ 7*7 }}<script>")
    update_draft(session, campaign, {"html": "<p>{{ first_name }}</p>"}, now)
    last = previous_recipient(session, campaign, sample_recipient(session, campaign).id)
    shown = preview(session, campaign, last, now=now).html
    assert "{{ 7*7 }}&lt;script&gt;" in shown


def test_the_choice_of_recipients_starts_over_at_the_end(session, campaign):
    first = sample_recipient(session, campaign)
    second = sample_recipient(session, campaign, first.id)
    assert first != second
    assert sample_recipient(session, campaign, second.id) == first
    assert previous_recipient(session, campaign, first.id) == second


def test_the_hardest_recipient_has_the_most_gaps_then_the_longest_values(
    session, make, account, readers, campaign, now
):
    update_draft(session, campaign, {"html": "<p>{{ first_name }} {{ city }}</p>", "subject": "News"}, now)
    assert hardest_recipient(session, campaign).email == "pyotr@example.org"
    make.subscriber(account, "wordy@example.org", (readers,), fields={"street": "long"})
    update_draft(session, campaign, {"html": "<p>{{ street }} {{ last_name }}</p>"}, now)
    assert hardest_recipient(session, campaign).email != "wordy@example.org"
    make.subscriber(account, "full@example.org", (readers,), first_name="A" * 90, fields={"city": "B" * 90})
    update_draft(session, campaign, {"html": "<p>{{ email }}</p>"}, now)
    assert hardest_recipient(session, campaign).email == "pyotr@example.org"  # the longest address


def test_a_subscriber_of_another_account_is_unknown(session, make, campaign):
    stranger = make.subscriber(make.account())
    assert recipient_page(session, campaign, stranger.id) is None


def test_a_birthday_without_a_year_prints_day_and_month_in_the_preview_and_on_the_wire(
    session, make, account, readers, now
):
    html = (Path(__file__).parents[1] / "rendering/cases/yearless_birthday.html").read_text()
    anna = make.subscriber(account, lists=(readers,), birthday=date(1604, 5, 14))
    campaign = make.campaign(account, (readers,), html=html, locale="ru")
    expected = "bd=14.05; 14 мая; y=; long=14 мая;"
    assert expected in preview(session, campaign, anna, now=now).html
    copy = COPY._replace(values=subscriber_values(anna, ()) | {"today": now.date()})
    message = MessageRenderer(email_of(html), ENVELOPE).render(copy)
    assert expected in part(message, "html")
    assert "1604" not in part(message, "html")
