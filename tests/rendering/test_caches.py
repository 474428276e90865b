"""What strangers write is never kept for good: every cache is bounded, in entries and in their size."""

import ast
from contextlib import suppress
from pathlib import Path

import pytest
from babel import localedata

import mailganer
from mailganer.audience import addresses
from mailganer.audience.imports import encoding_repair
from mailganer.errors import EmailError, MailganerError
from mailganer.rendering import engine, headers, localized_values
from mailganer.rendering.render_budget import RenderBudget
from mailganer.rendering.sandbox import TEXT, CompiledTemplate

LOOP = "{% for name in names.split(',') %}{{ today|date('d MMMM', name) }};{% endfor %}"


def printed(names: str) -> str:
    return CompiledTemplate(LOOP, "text", TEXT).render(
        {"today": "2026-05-01", "names": names}, RenderBudget()
    )


@pytest.mark.slow
def test_no_value_makes_a_worker_keep_another_language() -> None:
    for name in sorted(localedata.locale_identifiers()):
        with suppress(EmailError):
            assert printed(name)
    assert (
        len(localedata._dict_cache) <= len(localized_values.LOCALES) + 10
    )  # those of other tests, and their parents
    assert localized_values._babel_locale.cache_info().currsize <= len(localized_values.LOCALES)


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        *(("de", "1. Mai"), ("de-CH", "1. Mai"), ("de_AT", "1. Mai"), ("DE", "1. Mai"), (" fr ", "1 mai")),
        *(("en-US", "May 1"), ("pt-BR", "1 de maio"), ("no", "1. mai"), ("zh-TW", "5月1日"), ("ru", "1 мая")),
    ],
)
def test_tags_of_known_languages_are_understood(tag: str, expected: str) -> None:
    pattern = {"en-US": "MMMM d", "de": "d. MMMM", "zh-TW": "MMMd日"}.get(tag, "")
    template = "{{ today|date(pattern, tag) }}"
    pattern = pattern or ("d. MMMM" if "." in expected else "d 'de' MMMM" if " de " in expected else "d MMMM")
    values = {"today": "2026-05-01", "pattern": pattern, "tag": tag}
    assert CompiledTemplate(template, "text", TEXT).render(values, RenderBudget()) == expected


@pytest.mark.parametrize("tag", ["xx", "english", "../../etc/passwd", "de" * 5000, "_", "\0"])
def test_another_language_is_a_sentence(tag: str) -> None:
    with pytest.raises(EmailError, match="Dates cannot be formatted in the language"):
        printed(tag)


def test_an_account_with_an_unknown_language_gets_english_dates() -> None:
    program = CompiledTemplate("{{ today|date('d MMMM') }}", "text", TEXT)
    assert program.render({"today": "2026-05-01"}, RenderBudget("xx")) == "1 May"


@pytest.mark.slow
def test_no_cache_without_bounds_has_a_key_from_outside() -> None:
    """``cache`` without a bound is for functions without arguments."""
    found = []
    for path in Path(mailganer.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and (node.args.args or node.args.kwonlyargs):
                names = [ast.unparse(each) for each in node.decorator_list]
                if {"cache", "functools.cache", "lru_cache(None)", "lru_cache(maxsize=None)"} & set(names):
                    found.append(f"{path.name}: {node.name}")
    by_process = {"tasks.py: _sending_context", "worker_process.py: _worker_process"}  # one each
    assert set(found) == by_process


def test_long_texts_are_not_kept() -> None:
    caches = headers._phrase, encoding_repair._repaired, addresses._known_domain, localized_values._format_day
    before = [each.cache_info().currsize for each in caches[1:]]
    headers.phrase("n" * 10_000)
    assert headers.phrase("n" * 20_000) == "n" * 200
    encoding_repair.repair_text("t" * 10_000)
    with pytest.raises(MailganerError):
        addresses.parse_address(f"a@{'d' * 5000}.example")
    with pytest.raises(EmailError):
        printed("de" * 5000)
    assert [each.cache_info().currsize for each in caches[1:]] == before


def test_the_source_of_an_email_is_not_kept_for_its_links() -> None:
    assert engine._values_of.__wrapped__.__annotations__.keys() == {"fills", "variables", "return"}
