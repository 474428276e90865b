"""The encoding of a file that is not UTF-8: guessed from its letters, and whether the guess is beyond doubt.

A file does not name its encoding, and every byte means an email in each of them. So each reading is judged by
what no name looks like: signs inside words, a capital behind a small letter, two scripts in one word.
"""

import codecs
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from ...errors import InputError, _

# What may be chosen, by Python's names; the usual ones first. All of them contain ASCII.
NAMES: Final = {
    "utf-8": _("UTF-8"),
    "cp1252": _("Western European (Windows-1252)"),
    "cp1251": _("Cyrillic (Windows-1251)"),
    "cp1250": _("Central European (Windows-1250)"),
    "mac_roman": _("Western European (Mac Roman)"),
    "cp850": _("Western European (DOS 850)"),
    "iso8859-2": _("Central European (ISO 8859-2)"),
    "cp852": _("Central European (DOS 852)"),
    "koi8_r": _("Cyrillic (KOI8-R)"),
    "cp866": _("Cyrillic (DOS 866)"),
    "mac_cyrillic": _("Cyrillic (Mac)"),
    "cp1253": _("Greek (Windows-1253)"),
    "cp1254": _("Turkish (Windows-1254)"),
    "cp1255": _("Hebrew (Windows-1255)"),
    "cp1256": _("Arabic (Windows-1256)"),
    "cp1257": _("Baltic (Windows-1257)"),
    "cp932": _("Japanese (Shift-JIS)"),
    "euc_jp": _("Japanese (EUC-JP)"),
    "gb18030": _("Simplified Chinese (GBK, GB 18030)"),
    "big5": _("Traditional Chinese (Big5)"),
    "cp949": _("Korean (EUC-KR)"),
    "cp874": _("Thai (Windows-874)"),
}
_TRIED: Final = (
    *("cp1252", "cp1250", "cp1254", "cp1257", "mac_roman", "iso8859-2", "cp850", "cp852", "cp1253", "cp1255"),
    *("cp1256", "cp874", "gb18030", "cp932", "cp949", "big5", "euc_jp"),
)
_CYRILLIC: Final = ("cp1251", "koi8_r", "cp866")
_ENOUGH: Final = 30_000  # bytes: some thousand rows
_SLACK: Final = 10  # of so many words one may look strange: a trademark, a chemical formula

_WORD: Final = re.compile(r"[^\W\d_]+")
_CYRILLIC_WORD: Final = re.compile(r"[А-ЯЁІЇЄҐЎ]?[а-яёіїєґў]+|[А-ЯЁІЇЄҐЎ]+")
_VOWELS: Final = re.compile(r"[аеёиоуыэюяіїє]", re.IGNORECASE)
_SHARE_OF_VOWELS: Final = (
    0.25  # of Russian letters nearly half are vowels; of Hebrew read as Cyrillic a sixth
)
_PLAIN_SIGNS: Final = frozenset("…–—‘’“”„»«›‹™®°ªº·•\u00a0№€")
# Emails that stand together in one word, as one language has them.
_WESTERN: Final = (
    "àâæçéèêëîïôœùûüÿ",
    "äöüßéèàç",
    "áéíñóúüçàèòï",
    "ãáàâçéêíóôõúü",
    "àèéìíîïòóùú",
    "åäöæøéüáóòô",
    "áéíóúýþðæö",
)
_CENTRAL: Final = ("ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "ăâîşţ", "čćđšž", "äöüß")
_TURKISH: Final = ("çğıöşüâîû", "äöüß")
_BALTIC: Final = ("āčēģīķļņšūž", "ąčęėįšųūž", "äõöüšž")
_LANGUAGES: Final = {
    name: tuple(map(frozenset, languages))
    for names, languages in (
        (("cp1252", "mac_roman", "cp850"), _WESTERN),
        (("cp1250", "iso8859-2", "cp852"), _CENTRAL),
        (("cp1254",), _TURKISH),
        (("cp1257",), _BALTIC),
    )
    for name in names
}
# Of languages that use other encodings, read as Western European: Turkish, Hungarian, Czech.
_UNWESTERN: Final = re.compile(r"[ÐÝÞðýþ]|[Õõ](?!e)|ø(?=í|á|ej|ek)|[èìù](?=[áýø])", re.IGNORECASE)
_ICELANDIC: Final = re.compile(r"[áéíóúæ]", re.IGNORECASE)
_NOT_ICELANDIC: Final = re.compile(r"[çü]", re.IGNORECASE)


class Guess(NamedTuple):
    encoding: str
    certain: bool = True


def check_encoding(name: str) -> str:
    """Return Python's name of an encoding that a user names. Raises ``InputError``."""
    try:
        found = codecs.lookup(name.strip()).name
    except (LookupError, ValueError):
        found = ""
    found = _SAME.get(found, found)
    known = next((each for each in NAMES if codecs.lookup(each).name == found), "")
    if not known:
        raise InputError(
            {"encoding": _("Unknown encoding. Choose one of: ${names}.", mapping={"names": ", ".join(NAMES)})}
        )
    return known


_SAME: Final = {
    "utf-8-sig": "utf-8",
    "ascii": "utf-8",
    "iso8859-1": "cp1252",  # as browsers read it
    "iso8859-9": "cp1254",
    "iso8859-15": "cp1252",
    "shift_jis": "cp932",
    "gbk": "gb18030",
    "gb2312": "gb18030",
    "euc_kr": "cp949",
}


def guess(sample: bytes) -> Guess:
    """Guess the encoding of bytes that are not UTF-8."""
    sample = _telling(sample)
    shares = {name: cyrillic_share(sample, name) for name in _CYRILLIC}
    likeliest = max(shares, key=lambda name: shares[name])
    if shares[likeliest] > 0.5:
        reading = _reading(sample, likeliest)
        if reading.strange * _SLACK <= reading.words:
            return Guess(likeliest, _is_russian(sample.decode(likeliest, "replace")))
    readings = [_reading(sample, name) for name in (*_TRIED, *_CYRILLIC, "mac_cyrillic")]
    best = min(readings, key=lambda each: (each.strange, -each.known))
    rivals = {each.text for each in readings if (each.strange, each.known) == (best.strange, best.known)}
    certain = (
        best.encoding in ("cp1252", "cp1250")
        and best.strange * _SLACK <= best.words
        and (best.words - best.known) * _SLACK <= best.words
        and (best.encoding == "cp1252" or len(rivals) == 1)
    )
    return Guess(best.encoding, certain)


def _telling(sample: bytes) -> bytes:
    """Return the first lines with bytes beyond ASCII: each is read in twenty encodings."""
    found, size = [], 0
    for line in sample.splitlines(keepends=True):
        if not line.isascii() and size < _ENOUGH:
            found.append(line)
            size += len(line)
    return b"".join(found)[: 2 * _ENOUGH]


class _Reading(NamedTuple):
    encoding: str
    text: str
    strange: int  # code points that no text in a living language has
    words: int  # with other letters than those of ASCII
    known: int  # of these, such as a language has that uses the encoding


def _reading(sample: bytes, encoding: str) -> _Reading:
    text = sample.decode(encoding, "replace")
    words = [each for each in _WORD.findall(text) if not each.isascii()]
    strange = sum(_strange_in(run) for run in _RUN.findall(text) if not run.isascii())
    icelandic = bool(_ICELANDIC.search(text)) and not _NOT_ICELANDIC.search(text)
    return _Reading(
        encoding, text, strange, len(words), sum(_is_known(each, encoding, icelandic) for each in words)
    )


def _is_known(word: str, encoding: str, icelandic: bool) -> bool:
    if encoding in _COMMON:
        try:
            return word.encode(_COMMON[encoding]) is not None
        except UnicodeEncodeError:
            return False
    if encoding not in _LANGUAGES:
        return len(word) > 1
    letters = {each for each in word.replace("İ", "I").lower() if not each.isascii()}
    found = _UNWESTERN.search(word) if encoding == "cp1252" else None
    if found and not (icelandic and found[0] in "ÐÝÞðýþ"):
        return False
    return any(letters <= each for each in _LANGUAGES[encoding])


_COMMON: Final = {
    "gb18030": "gb2312",
    "cp932": "shift_jis",
    "euc_jp": "euc_jp",
    "big5": "big5",
    "cp949": "euc_kr",
}


def cyrillic_share(sample: bytes, encoding: str) -> float:
    """The share of characters other than Latin ones that stand in words like Анна, and not in юМНЮ or ╨║Ё."""
    text = sample.decode(encoding, "replace")
    words = (word for word in _WORD.findall(text) if _CYRILLIC_WORD.fullmatch(word))
    return sum(map(len, words)) / max(1, sum(1 for character in text if not character.isascii()))


def _is_russian(text: str) -> bool:
    words = [word for word in _WORD.findall(text) if not word.isascii()]
    letters = "".join(words)
    wrong = sum(not _CYRILLIC_WORD.fullmatch(word) for word in words)
    if not any(word[0].isupper() for word in words):  # Hebrew has no capitals
        return False
    return wrong * _SLACK <= len(words) and len(_VOWELS.findall(letters)) >= _SHARE_OF_VOWELS * len(letters)


_RUN: Final = re.compile(r"(?:[^\W\d_]|[^\x00-\x7f])+")


@lru_cache(maxsize=10_000)
def _strange_in(run: str) -> int:
    found = sum(_is_strange(each) for each in run) + len(_MISPLACED.findall(run))
    for word in _WORD.findall(run):
        if not word.isascii():
            scripts = {_script(each) for each in word}
            found += len(scripts) > 1 or not _has_case_of_a_word(word) or _is_crowded(word, scripts)
    return found


def _is_strange(character: str) -> int:
    if character.isascii() or character.isalpha() or character in _PLAIN_SIGNS:
        return 1 if character in "ƒªº\u02c6\u02dc" or "\uff61" <= character <= "\uff9f" else 0
    category = unicodedata.category(character)
    if category.startswith("M"):  # vowels of Thai, Hebrew and Arabic
        return 0
    return 3 if category in ("Cc", "Cn", "Co", "Cs") or character == "\ufffd" else 1


def _script(email: str) -> str:
    if email.isascii():
        return "LATIN"
    name = unicodedata.name(email, "").partition(" ")[0]
    return "CJK" if name in ("HIRAGANA", "KATAKANA", "HANGUL", "KATAKANA-HIRAGANA") else name


def _has_case_of_a_word(word: str) -> bool:
    return word.islower() or word.isupper() or word[1:].islower() or word.lower() == word.upper()


def _is_crowded(word: str, scripts: Iterable[str]) -> bool:
    """Return whether so many letters with marks stand in a row as in no language with Latin letters."""
    return "LATIN" in scripts and bool(_CROWD.search(word))


# An opening quote behind an email; an email of the end of a Hebrew word before another.
_MISPLACED: Final = re.compile(r"(?<=[^\W\d_])[‘„]|(?<=[^\W\d_])№(?=[^\W\d_])|[ךםןףץ](?=[א-ת])|ς(?=[α-ω])")
_CROWD: Final = re.compile(r"[^\x00-\x7f]{4}")
