"""Texts users see avoid banned words, in English and in Russian.

Each banned word has a standard word that is used instead. An exception names a part of a text that may use
a banned word, and the reason.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Message
from babel.messages.pofile import read_po

ROOT = Path(__file__).resolve().parents[2]

ENGLISH = {
    r"letters?": "email",
    r"(bring|brings|brought|bringing) (in|back|a|an|your|them)": "import, restore",
    r"take (it )?back": "return, undo",
    r"(go|goes|going|went) on": "continue, resume",
    r"(nobody|somebody|anybody|everybody|someone|whoever)": "recipient, subscriber, operator",
    r"(person|people)": "recipient, subscriber",
    r"readers?": "recipient",
    r"mend\w*": "fix",
    r"look (again|at|into)": "check again, view",
    r"needs? a look": "needs attention",
    r"worth a look": "warning",
    r"by (itself|themselves)": "automatically",
    r"(rests|resting)": "waiting",
    r"(leaves|on (its|their|the) way|under way)": "is sent",
    r"left out": "skipped, excluded",
    r"(came|come|comes|coming) back": "bounced",
    r"out of reach": "undeliverable",
    r"(hand|hands|handed|handing) over": "pass",
    r"lead(s|ing)? nowhere": "does not work",
    r"(forget|throw|thrown)( \w+)? ?(away)?": "delete, discard",
    r"(mailing|mailings)": "campaign",
    r"stop(ped)? for good": "cancel",
    r"put (in|off|together|back)": "insert, defer, render, restore",
    r"(says? so|your word|one of ours)": "decide, valid",
    r"way out": "unsubscribe link",
    r"looks? the": "view",
    r"(what|which) came": "result",
    r"(pictures?|mail programs?)": "image, email app",
}
RUSSIAN = {
    r"внес(ти|ите|ено|ены)": "загрузить",
    r"(взгля|загля)\w+": "проверить, посмотреть",
    r"забы(ть|то|т)": "не загружать, удалить",
    r"(взять|возьм\w+)": "использовать",
    r"лов(ец|ца|цу|цом|це)": "ловушка писем",
    r"молча": "незамеченным",
    r"адресат\w*": "получатель",
    r"(людей|людям|люди|людьми|людях|человек\w*)": "получатель, подписчик",
    r"читател\w*": "получатель",
    r"пробн\w+": "тестовое письмо",
    r"(отдых\w+)": "ждёт",
    r"слова сервера": "ответ сервера",
    r"(выброс\w+|выбрас\w+)": "удалить",
    r"нужно внимание": "требует внимания",
    r"на паузе": "приостановлена",
    r"помех\w*": "ошибка",
    r"насовсем": "отменить",
}
EXCEPTIONS = {
    "Latin letters": "letters of the alphabet",
    "16 letters": "letters of the alphabet",
    "added to a mailing list": "the term recipients know",
    "%(people)s in %(lists)s": "the name of a value in the sentence, not shown",
}


def _messages() -> list[Message]:
    catalogue = ROOT / "mailganer" / "locale" / "ru" / "LC_MESSAGES" / "mailganer.po"
    with catalogue.open("rb") as file:
        return [message for message in read_po(file, locale="ru") if message.id]


def _forms(text: str | tuple[str, ...] | list[str]) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else tuple(text)


def _is_excepted(message: Message) -> bool:
    return any(part in form for part in EXCEPTIONS for form in _forms(message.id))


def _found(words: dict[str, str], texts: Iterator[tuple[Message, str]]) -> list[str]:
    found = []
    for message, text in texts:
        for word, standard in words.items():
            if re.search(rf"\b{word}\b", text, re.IGNORECASE) and not _is_excepted(message):
                places = ", ".join(sorted({Path(path).name for path, _line in message.locations}))
                found.append(f"{text!r} ({places}): use {standard}")
    return found


def test_english_texts_use_the_standard_words() -> None:
    texts = ((message, form) for message in _messages() for form in _forms(message.id))
    assert _found(ENGLISH, texts) == []


def test_russian_texts_use_the_standard_words() -> None:
    texts = ((message, form) for message in _messages() for form in _forms(message.string))
    assert _found(RUSSIAN, texts) == []


@pytest.mark.parametrize("part", EXCEPTIONS)
def test_every_exception_is_used(part: str) -> None:
    assert any(part in form for message in _messages() for form in _forms(message.id))
