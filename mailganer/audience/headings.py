"""Common names of columns in several languages: understood on import, and later.

A column "Surname" is mapped to ``last_name``. A user who knows it by that heading writes ``{{ surname }}``,
so every known heading, written as a variable, is an alias of its field. A subscriber's own variable with this
name takes precedence.
"""

import re
import unicodedata
from collections.abc import Collection, Mapping
from typing import Final

EMAIL: Final = "email"
FULL_NAME: Final = "full_name"  # Anna Ivanova
LAST_NAME_FIRST: Final = "full_name_last_first"  # Иванова Анна Петровна
PATRONYMIC: Final = "patronymic"  # the variable for the third word of a name

HEADINGS: Final[Mapping[str, frozenset[str]]] = {
    field: frozenset(re.split(r"\s*,\s*", words))
    for field, words in {
        EMAIL: "email, e mail, mail, email address, e mail address, mail address, почта, эл почта, "
        "электронная почта, e mail адрес, email адрес, адрес электронной почты, адрес эл почты, "
        "адрес почты, имейл, емейл, емайл, электронный адрес, эл адрес, subscriber email, user email, "
        "e mail adresse, email adresse, mailadresse, mail adresse, elektronische adresse, "
        "adresse e mail, adresse email, adresse mail, courriel, adresse courriel, adresse de courriel, "
        "adresse électronique, adresse de messagerie, mél, correo, correo electrónico, correo electronico, "
        "dirección de correo, dirección de correo electrónico, dirección de email, dirección de e mail",
        "first_name": "имя, first name, firstname, given name, forename, fname, имя получателя, имя клиента, "
        "vorname, rufname, prénom, prenom, nombre, nombre de pila, primer nombre",
        "last_name": "фамилия, last name, lastname, surname, family name, lname, second name, "
        "nachname, familienname, zuname, nom, nom de famille, apellido, apellidos, primer apellido",
        FULL_NAME: "name, full name, fullname, имя фамилия, имя и фамилия, contact name, customer name, "
        "получатель, имя отчество фамилия, display name, vor und nachname, vorname nachname, "
        "vorname und nachname, vollständiger name, ansprechpartner, kontaktname, kundenname, nom complet, "
        "prénom nom, prénom et nom, nombre completo, nombre y apellido, nombre y apellidos, nombre apellidos",
        LAST_NAME_FIRST: "фио, ф и о, фамилия имя отчество, фамилия имя, фамилия и имя, "
        "last name first name, nachname vorname, nom prénom, nom et prénom, apellidos y nombre, "
        "apellidos nombre, клиент фио, фио клиента, фио получателя",
        "birthday": "день рождения, дата рождения, др, д р, birthday, birth date, birthdate, date of birth, "
        "dob, bday, b day, рождение, birth day, geburtstag, geburtsdatum, geb datum, "
        "date de naissance, anniversaire, naissance, fecha de nacimiento, cumpleaños, nacimiento",
        PATRONYMIC: "отчество, patronymic, middle name",
    }.items()
}


_LETTERS: Final = "абвгдеёжзийклмнопрстуфхцчшщыэюяіїєґў"
_IN_LATIN: Final = "a b v g d e e zh z i y k l m n o p r s t u f h ts ch sh sch y e yu ya i yi ye g u"
_CYRILLIC: Final = dict(zip(_LETTERS, _IN_LATIN.split(), strict=True)) | {"ъ": "", "ь": ""}


def latin(text: str) -> str:
    """Transliterate a text into part of a variable name: "Город доставки" -> "gorod_dostavki"."""
    letters = "".join(_CYRILLIC.get(letter, letter) for letter in text.lower())
    plain = unicodedata.normalize("NFKD", letters).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_")


_PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    FULL_NAME: ("first_name", PATRONYMIC, "last_name"),
    LAST_NAME_FIRST: ("last_name", "first_name", PATRONYMIC),
}
_UNCLEAR: Final = frozenset({"dr", "d_r"})  # in a heading: birthday; elsewhere a doctor or discount


def _other_names() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for field, headings in HEADINGS.items():
        written = {latin(heading) for heading in headings}
        names = written | {name.replace("_", "") for name in written}  # also without separators: firstName
        found |= dict.fromkeys(names - HEADINGS.keys() - _UNCLEAR, _PARTS.get(field, (field,)))
        if field in _PARTS:
            found[field] = _PARTS[field]
    return found


OTHER_NAMES: Final[Mapping[str, tuple[str, ...]]] = _other_names()
"""Alias -> the fields whose values it joins."""


def heading_words(text: str) -> str:
    """A heading without case, punctuation and "ё": "E-mail:" -> "e mail"."""
    text = unicodedata.normalize("NFC", text)
    return re.sub(r"[\W_]+", " ", re.sub(r"([a-z])([A-Z])", r"\1 \2", text).lower().replace("ё", "е")).strip()


def known_heading(words: str) -> str:
    """Return the field for a heading normalized by ``heading_words``, or ""."""
    return next((field for field, known in HEADINGS.items() if words in known), "")


def other_values(values: Mapping[str, object], names: Collection[str]) -> dict[str, object]:
    """Return the subscriber's values for those of ``names`` that are aliases."""
    return {
        name: _joined_value(values, OTHER_NAMES[name])
        for name in names
        if name in OTHER_NAMES and not values.get(name)
    }


def _joined_value(values: Mapping[str, object], parts: tuple[str, ...]) -> object:
    if len(parts) == 1:
        return values.get(parts[0])  # a birthday stays a date
    return " ".join(str(value) for part in parts if (value := values.get(part)))
