"""A sentence of ours that is stored with a row is shown in the user's language, with its values."""

import re
from types import SimpleNamespace
from typing import Any

import pytest
from babel.support import Translations
from sqlalchemy import select, text
from translationstring import TranslationString

from mailganer.accounts import create_api_token
from mailganer.backends import Message, Outcome, clean
from mailganer.backends.smtp_pipeline import SMTPConnection
from mailganer.errors import Unreachable, _
from mailganer.i18n import languages
from mailganer.i18n.translator import DOMAIN, former_sentences, translate_sentence
from mailganer.models import Account, CampaignStatus, Delivery, Import, ImportStatus, Reason
from mailganer.models import DeliveryStatus as S
from tests.fixtures.api import Client
from tests.support.factories import Factory
from tests.support.sent import sent_campaign

ENGLISH = "The field “city” of this recipient is longer than 10,000 characters."
RUSSIAN = "Поле «city» у этого получателя длиннее 10 000 символов."
TOO_LONG = _(
    "The field “${name}” of this recipient is longer than 10,000 characters.", mapping={"name": "city"}
)


@pytest.fixture
def own(session: Any, anna: Any) -> Account:
    """The account that anna's browser is signed in to."""
    return session.scalars(select(Account).where(Account.email == "anna@example.com")).one()


@pytest.fixture
def kept(session: Any, make: Factory, own: Account, now: Any) -> Delivery:
    """Deliveries of a finished campaign, with a sentence of ours."""
    people = [make.subscriber(own, f"p{n}@example.org") for n in range(2)]
    campaign = make.campaign(own, (), (make.sender(own),), html="<p>Hello</p>")
    kept, _sent = sent_campaign(session, campaign, people, now, [S.skipped])
    kept.reason, kept.reply = Reason.render_error, TOO_LONG
    campaign.status = CampaignStatus.finished
    session.commit()
    return kept


@pytest.fixture
def program(app: Any, session: Any, own: Account, make: Factory) -> Client:
    """The API for an account in Russian."""
    token, _row = create_api_token(session, own, name="tests", now=make.now)
    own.locale = "ru"
    session.commit()
    return Client(app, token)


PAGES = (
    "/campaigns/{campaign}/report",
    "/campaigns/{campaign}/recipients/{id}",
    "/subscribers/{person}",
    "/campaigns/{campaign}/recipients.csv",
)


def address(pattern: str, kept: Delivery) -> str:
    return pattern.format(campaign=kept.campaign_id, id=kept.id, person=kept.subscriber_id)


@pytest.mark.parametrize("pattern", PAGES)
def test_what_was_wrong_with_an_email_is_read_in_the_language_of_the_page(
    anna: Any, kept: Delivery, pattern: str
) -> None:
    here = address(pattern, kept)
    russian, english = (anna.get(here, {"lang": lang}).text for lang in ("ru", "en"))
    assert ("у\xa0этого" in russian) is not here.endswith(".csv")
    russian = russian.replace("у\xa0этого", "у этого")
    assert (RUSSIAN in russian, ENGLISH in russian) == (True, False)
    assert (RUSSIAN in english, ENGLISH in english) == (False, True)


def test_a_row_of_an_earlier_version_stays_readable(anna: Any, session: Any, kept: Delivery) -> None:
    old = "Mail server mail.example.com:465 cannot be reached: refused <b>"
    session.execute(text("UPDATE delivery SET reply = :old WHERE id = :id"), {"old": old, "id": kept.id})
    session.commit()
    assert "refused &lt;b&gt;" in anna.get(address(PAGES[0], kept), {"lang": "ru"})


def test_a_sentence_of_an_earlier_version_is_read_in_its_wording_of_today(
    anna: Any, session: Any, kept: Delivery
) -> None:
    kept.reply = _(
        "The field “${name}” of this person is longer than ten thousand characters.", mapping={"name": "city"}
    )
    session.commit()
    pages = {lang: anna.get(address(PAGES[0], kept), {"lang": lang}).text for lang in ("ru", "en")}
    assert (RUSSIAN.replace("у ", "у\xa0") in pages["ru"], ENGLISH in pages["en"]) == (True, True)


def test_former_sentences_lead_to_sentences_of_today_with_the_same_values() -> None:
    russian = Translations.load(languages.CATALOGUES, ["ru"], DOMAIN)
    placeholders = re.compile(r"\$\{\w+\}")
    for former, today in former_sentences().items():
        assert russian.gettext(former) == former  # else its text is still in use
        assert russian.gettext(today) != today
        assert set(placeholders.findall(today)) <= set(placeholders.findall(former))


def test_programs_read_it_in_the_language_of_the_account(program: Client, kept: Delivery) -> None:
    items = program.get(f"campaigns/{kept.campaign_id}/deliveries?status=skipped").json["items"]
    assert [each["reply"] for each in items] == [RUSSIAN]
    steps = program.get(f"campaigns/{kept.campaign_id}/why?subscriber_id={kept.subscriber_id}").json["steps"]
    assert RUSSIAN in [each["details"].get("words") for each in steps]


def test_programs_read_notes_and_failures_of_an_import_in_the_language_of_the_account(
    program: Client, session: Any, own: Account, make: Factory, now: Any
) -> None:
    job = Import(
        account_id=own.id,
        list_id=make.list(own).id,
        filename="people.csv",
        path="gone",
        status=ImportStatus.failed,
        error="quote:7",
        notes={"rows": [[3, "birthday", "0/0/00"]], "counts": {"birthday": 1}},
        created_at=now,
    )
    session.add(job)
    session.commit()
    shown = program.get(f"imports/{job.id}").json
    assert shown["error"].startswith("В строке 7 не закрыта кавычка")
    assert shown["notes"][0]["sentence"].startswith("«0/0/00» не похоже на дату рождения")


def test_cleaning_a_sentence_keeps_its_values_apart() -> None:
    error = Unreachable(
        _("The server ${host} was not found. Check its spelling.", mapping={"host": "a\nb" * 400})
    )
    cleaned = clean(error.message)
    assert isinstance(cleaned, TranslationString)
    assert cleaned.mapping == {"host": ("a b" * 400)[:500]}
    assert translate_sentence(cleaned, "ru").startswith("Сервер a b")


def test_a_lost_server_is_named_in_the_language_of_the_page() -> None:
    gone = Unreachable(_("The server ${host} was not found. Check its spelling.", mapping={"host": "x"}))
    openings: list[Any] = [SimpleNamespace(quit=lambda: None), gone]

    def open_session() -> Any:
        found = openings.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    connection = SMTPConnection(open_session)
    connection.close()
    (receipt,) = connection.send_many([Message("1", "anna@example.com", "boris@example.org", b"")])
    assert receipt.outcome is Outcome.deferred
    assert translate_sentence(receipt.reply, "ru").startswith("Сервер x не найден.")


@pytest.mark.parametrize("words", ['{"says": "x", "domain": 1, "parts": {}}', '{"says": {', '{"says": 1}'])
def test_a_servers_words_are_never_taken_for_a_sentence_of_ours(
    anna: Any, session: Any, kept: Delivery, words: str
) -> None:
    kept.reply = words
    session.commit()
    session.expire_all()
    assert translate_sentence(session.get_one(Delivery, kept.id).reply) == words
    session.execute(
        text("UPDATE delivery SET reply = :old WHERE id = :id"), {"old": '{"says": {', "id": kept.id}
    )
    session.commit()
    assert "{&#34;says&#34;: {" in anna.get(address(PAGES[0], kept))
