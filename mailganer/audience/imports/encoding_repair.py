"""Repair of garbled text (mojibake): UTF-8 decoded in another encoding and saved again (``JosÃ©``).

Such text is a byte sequence in another encoding. It is repaired if all of it decodes to words in living
scripts, and if it could not be ordinary text: a symbol inside a word, a capital after a small letter, two
scripts in one word. Encodings are the tables of Python, with the control characters that Windows uses where
Windows-1251 and Windows-1252 have no character.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Final

_CONT: Final = range(0x80, 0xC0)
_LEADS: Final = (range(0xC2, 0xE0), range(0xE0, 0xF0), range(0xF0, 0xF5))
_ENCODINGS: Final = (
    *("cp1252", "cp1251", "cp1250", "cp1254", "cp1257"),
    *("cp866", "cp437", "cp850", "koi8_r", "mac_roman", "mac_cyrillic"),
)
_MANY: Final = 3  # sequences in a text without other characters
_TIMES: Final = 3  # times the text may have been garbled
_BYTE_ORDER_MARKS: Final = ("ï»¿", "п»ї", "\ufeff")
# Characters at the end of a word, or inside one, in ordinary text.
_ENDS: Final = frozenset("…–—‘’“”»›™®°ªº¹²³·•\u00a0")
_INSIDE: Final = frozenset("…–—‘’·\u00a0")
_SCRIPTS: Final = re.compile(
    r"(LATIN|CYRILLIC|GREEK|ARMENIAN|GEORGIAN|HEBREW|ARABIC|DEVANAGARI|BENGALI|GUJARATI|GURMUKHI|TAMIL|TELUGU"
    r"|KANNADA|MALAYALAM|SINHALA|THAI|LAO|KHMER|MYANMAR|ETHIOPIC|CJK|HIRAGANA|KATAKANA|HANGUL|IDEOGRAPHIC)\b"
)
_WORD: Final = re.compile(r"[^\W\d_]+")


class GarbledError(ValueError):
    """Text that is garbled and cannot be repaired."""


class _Disguise:
    """UTF-8 text decoded in one other encoding."""

    def __init__(self, encoding: str) -> None:
        self.bytes: dict[str, int] = {}
        for byte in range(0x80, 0x100):
            try:
                self.bytes[bytes((byte,)).decode(encoding)] = byte
            except UnicodeDecodeError:
                self.bytes[chr(byte)] = byte
        if encoding == "cp1252":  # Latin-1 has control characters there
            self.bytes |= {chr(byte): byte for byte in range(0x80, 0xA0)}
        if encoding == "cp1251":
            self.bytes["˜"] = 0x98
        following = self._class(_CONT)
        self.sequence = re.compile(
            "|".join(f"{self._class(lead)}{following}{{{more}}}" for more, lead in enumerate(_LEADS, 1))
        )
        self._cyrillic = encoding == "cp1251"
        self._western = encoding == "cp1252"
        self._lost = (
            # A no-break space that became a space, and И, whose second byte is undefined in Windows-1251.
            (re.compile(rf"Р (?=[РС]{following})"), "Р\u00a0"),
            (re.compile(rf"Р(?:\?(?=[РС]|\W|\Z)|(?!{following}|\?))"), "Р\x98"),
        )

    def _class(self, numbers: range) -> str:
        return "[" + re.escape("".join(each for each, byte in self.bytes.items() if byte in numbers)) + "]"

    def is_suspect(self, text: str) -> bool:
        """Return whether a text contains what garbled text must contain."""
        return bool(self.sequence.search(text) or (self._western and _A_GRAVE.search(text)))

    def repaired(self, text: str) -> str | None:
        """Return the original text; None if this text is not garbled in this encoding."""
        if self._western:
            text = _A_GRAVE.sub("Ã\u00a0", text)
        if not self.sequence.search(text):
            return None
        if self._cyrillic:
            for pattern, instead in self._lost:
                text = pattern.sub(instead, text)
        raw = bytearray()
        for character in text:
            byte = ord(character) if character < "\x80" else self.bytes.get(character)
            if byte is None:
                return None
            raw.append(byte)
        try:
            found = raw.decode("utf-8")
        except UnicodeDecodeError:
            return None
        return found if self._is_sure(text) and _is_plausible(found) else None

    def _is_sure(self, text: str) -> bool:
        if any(True for _each in self.sure_signs(text)):
            return True
        found = self.sequence.findall(text)
        if self._cyrillic and len(found) >= _MANY and all(each[0] in "РС" for each in found):
            return True
        return len([each for each in found if len(each) > 2]) >= _MANY

    def sure_signs(self, text: str) -> Iterator[str]:
        """Yield the sequences that do not occur in ordinary text."""
        for match in self.sequence.finditer(text):
            before = text[match.start() - 1 : match.start()]
            behind = text[match.end() : match.end() + 1]
            if _is_odd(match[0], before, behind):
                yield match[0]

    def is_beyond_repair(self, text: str) -> bool:
        """Return whether parts of a text are certainly garbled, although not all of it is."""
        found = [each for each in self.sure_signs(text) if self._letter(each)]
        if self._western and any(each[0] in "ÃÂ" for each in found):
            return True
        return len(found) >= (2 if self._western else 3)

    def _letter(self, sequence: str) -> bool:
        try:
            letter = bytes(self.bytes[each] for each in sequence).decode("utf-8")
        except UnicodeDecodeError:
            return False
        return bool(_script(letter)) or sequence[0] in "ÂâÃ"


# "à" at the end of a word, whose second half became a space or was stripped.
_A_GRAVE: Final = re.compile(r"(?<=[a-z])Ã(?: (?= |\Z)|(?= )|\Z)")


def _is_odd(sequence: str, before: str, behind: str) -> bool:
    lead, following = sequence[0], sequence[1:]
    if not lead.isalpha():
        return before.isalpha() or behind.isalpha() or behind == lead
    if any(not each.isalpha() and each not in _ENDS for each in following):
        return True
    if _is_impossible(lead, following[0], before, behind):
        return True
    if lead.isupper() and before.islower():
        return True
    if not lead.isascii() and _script(lead) != "LATIN" and _is_latin(before, behind):
        return True
    inside = behind.isalpha() and sequence[-1] in _ENDS - _INSIDE
    return inside or (len(following) > 1 and any(each in "°²³¹ºª•·›" for each in following))


def _is_impossible(lead: str, following: str, before: str, behind: str) -> bool:
    """Return whether no language has these letters next to each other."""
    if lead == "Â":
        return following in "ªº°²³¹·®"
    if lead == "Ã" and behind.islower() and not before.isalpha():
        return True
    if lead in "ÃÄÅ" and following in "ŠŒŽŸšœžƒ":
        return following.islower() or behind.islower()
    if lead == "Ĺ" and following in "šťžźłąşľż":
        return True
    return lead in "ĂĹ" and following in "ĽŁŚŞŠŤŽŹĄ" and behind.islower()


def _is_latin(*characters: str) -> bool:
    return any(each.isascii() and each.isalpha() for each in characters)


def _script(letter: str) -> str:
    """Return the script of a letter if living languages use it, else ""."""
    if letter in "ªºµ":
        return "LATIN"
    code = ord(letter)
    if (0x250 <= code < 0x370 and letter != "ə") or 0x460 <= code < 0x490:
        return ""  # phonetic letters, and those of old manuscripts
    found = _SCRIPTS.match(unicodedata.name(letter, ""))
    return found[1] if found else ""


def _is_plausible(text: str) -> bool:
    """Return whether a text consists of ordinary words and symbols."""
    if any(unicodedata.category(each) in ("Cc", "Cn", "Co", "Cs") and each not in "\t\n\v" for each in text):
        return False
    longest = 0
    for word in _WORD.findall(text):
        if word.isascii():
            continue
        scripts = {_script(each) for each in word if each.isalpha()}
        if "" in scripts or ("LATIN" in scripts and len(scripts) > 1):
            return False
        longest = max(longest, len(word) if scripts & {"CYRILLIC", "GREEK"} else 2)
    return "\ufffd" not in text and (longest != 1)


@cache
def _disguises() -> tuple[_Disguise, ...]:
    """Return the tables of all encodings. Most processes never import a file and need none."""
    return tuple(map(_Disguise, _ENCODINGS))


@cache
def _any_sequence() -> re.Pattern[str]:
    sequences = (each.sequence.pattern for each in _disguises())
    return re.compile("|".join([*sequences, *_BYTE_ORDER_MARKS, _A_GRAVE.pattern]))


# Text that ``repair_text`` leaves as it is: ASCII, single other characters between ASCII, and Russian words
# whose letters are UTF-8 in none of the encodings, even if some of them are. A capital behind a small letter
# or a Latin letter beside a Cyrillic one needs a closer look.
_USUAL: Final = re.compile(
    r"(?:[\x00-@\[-`{-\x7f]++"
    r"|[A-Za-z]++(?![А-Яа-яЁё])"
    r"|(?:[А-ОС-Я](?![Ёё])|Р(?=[А-ОС-Яа-я](?![Ёё]))|[А-Я]ё(?=[а-я](?!ё)))[А-ЯЁ]*+[а-яё]*+(?![^\x00-@\[-`{-\x7f])"
    r"|[а-я](?![А-Я])(?!(?:[р-я][а-п]{2})++(?![а-я]))[а-я]*+(?![^\x00-@\[-`{-\x7f])"
    r"|(?<![^\x00-\x7f])[^\x00-\x7fÃ\ufeff](?![^\x00-\x7f])"
    r")*+"
)


def unusual_lines(text: str) -> Iterator[int]:
    """Yield the numbers, from 0, of the lines of a text that may be garbled: few of a usual file."""
    if text.isascii():
        return
    number = place = 0
    while (end := _end_of_usual(text, place)) < len(text):
        number += text.count("\n", place, end)
        yield number
        place = text.find("\n", end) + 1
        number += 1
        if not place:
            return


def _end_of_usual(text: str, start: int) -> int:
    found = _USUAL.match(text, start)
    return found.end() if found else start


def looks_garbled(line: str) -> bool:
    """Return whether a line may contain garbled text; a fast check."""
    return _any_sequence().search(line) is not None


def repair_text(text: str) -> str:
    """Repair garbled text; return other text unchanged. Raise ``GarbledError``."""
    return _repaired(text) if len(text) <= _SHORT else _repair(text)


def _repair(text: str) -> str:
    suspects: list[_Disguise] = []
    for _time in range(_TIMES):
        text = (
            text.removeprefix(_BYTE_ORDER_MARKS[0]).removeprefix(_BYTE_ORDER_MARKS[1]).removeprefix("\ufeff")
        )
        suspects = _suspects(text)
        found = next((found for each in suspects if (found := each.repaired(text)) is not None), None)
        if found is None:
            break
        text = found
    else:
        suspects = _suspects(text)
    if any(each.is_beyond_repair(text) for each in suspects):
        raise GarbledError(text)
    return text


def _suspects(text: str) -> list[_Disguise]:
    """Return the encodings in which a text may be garbled: none for nearly all texts, by one search."""
    if text.isascii() or not looks_garbled(text):
        return []
    return [each for each in _disguises() if each.is_suspect(text)]


_SHORT: Final = 200  # characters of a text likely to recur: a name, a city
_repaired: Final = lru_cache(maxsize=10_000)(_repair)
