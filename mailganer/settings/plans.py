"""Plans of the accounts: their limits, and their texts in each language."""

import re

from mailganer.i18n.localized_text import LocalizedText

from .reader import SettingReader
from .types import NO_LIMITS, Plan

PLAN_TEXT = re.compile(r"mailganer\.plan\.[^.]+\.(title|price)\.[\w-]+")  # a text for one language
PLAN_OPTIONS = ("title", "per_day", "max_subscribers", "price")
PLAN_TEXTS = ("title", "price")  # may be given for a language: title.ru
OLD_PLAN_OPTIONS = {"price_ru": "price.ru"}  # still read, with a warning


def plans(reader: SettingReader) -> tuple[Plan, ...]:
    names = reader.words("mailganer.plans", ())
    if not names:
        return (NO_LIMITS,)
    return tuple(_plan(reader, name) for name in names)


def plan_keys(reader: SettingReader) -> set[str]:
    """Return the keys that a plan named in ``mailganer.plans`` may have."""
    texts = [f"{text}.{code}" for text in PLAN_TEXTS for code in _languages(reader)]
    options = (*PLAN_OPTIONS, *texts)
    names = reader.words("mailganer.plans", ())
    return {f"mailganer.plan.{name}.{option}" for name in names for option in options}


def rename_old_keys(reader: SettingReader) -> None:
    """Read old names of settings as the new ones, with a warning."""
    for name in reader.words("mailganer.plans", ()):
        for old, new in OLD_PLAN_OPTIONS.items():
            old_key, new_key = (f"mailganer.plan.{name}.{option}" for option in (old, new))
            if (value := reader.values.pop(old_key, None)) is not None:
                reader.values.setdefault(new_key, value)
                reader.warnings.append(f"{old_key} is now called {new_key}. Rename it.")


def _plan(reader: SettingReader, name: str) -> Plan:
    prefix = f"mailganer.plan.{name}."
    reader.text(prefix + "title", "A plan needs a title.")
    return Plan(
        name,
        _localized_text(reader, prefix + "title"),
        reader.number(prefix + "per_day"),
        reader.number(prefix + "max_subscribers"),
        _localized_text(reader, prefix + "price"),
    )


def _localized_text(reader: SettingReader, key: str) -> str:
    """Return the text under ``key``, with its versions for languages: ``key.ru``."""
    versions = {code: text for code in _languages(reader) if (text := reader.values.get(f"{key}.{code}"))}
    text = reader.values.get(key) or next(iter(versions.values()), "")
    return LocalizedText(text, versions) if versions else text


def _languages(reader: SettingReader) -> tuple[str, ...]:
    """Return the codes of the languages; none where no text is given for a language."""
    if not any(PLAN_TEXT.fullmatch(key) for key in reader.values):
        return ()
    from mailganer.i18n.languages import language_codes  # imports Babel, which few commands need

    return language_codes()
