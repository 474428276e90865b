"""Read one setting of a general kind: a flag, a number, a file, an address, names of plugins."""

import difflib
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path

LISTEN_ADDRESS = re.compile(r"(?P<host>[^\s:\[\]]+|\[[0-9A-Fa-f:.]+\]):(?P<port>\d{1,5})")


class SettingReader:
    """Read the values of keys and collect the problems of each."""

    def __init__(self, values: Mapping[str, str], ini: Path | None, create: bool) -> None:
        self.values = dict(values)
        self.ini = ini
        self.create = create
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self.here = ini.parent if ini else Path.cwd()

    def text(self, key: str, hint: str) -> str:
        value = self.values.get(key, "")
        if not value:
            self.problems.append(f"{key} is missing. {hint}")
        return value

    def flag(self, key: str) -> bool:
        value = self.values.get(key, "false").lower()
        if value in {"true", "yes", "on", "1"}:
            return True
        if value not in {"false", "no", "off", "0", ""}:
            self.problems.append(f"{key} is {value!r}. Use true or false.")
        return False

    def number(self, key: str) -> int | None:
        value = self.values.get(key, "")
        if value in {"", "unlimited"}:
            return None
        if not value.isdecimal():
            self.problems.append(f"{key} is {value!r}. Use a whole number, or nothing for no limit.")
            return None
        return int(value)

    def whole(self, key: str, default: int) -> int:
        value = self.values.get(key) or str(default)
        if not value.isdecimal():
            self.problems.append(f"{key} is {value!r}. Use a whole number, such as {default}.")
            return default
        return int(value)

    def words(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(re.split(r"[\s,]+", self.values[key])) if self.values.get(key) else default

    def installed(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """Return names of plugins, whose entry-point group is the key.

        They are checked by name, not loaded.
        """
        names, known = self.words(key, default), entry_points(group=key).names
        for name in dict.fromkeys(names):
            if name not in known:
                hint = did_you_mean(name, known) or f" There are: {', '.join(sorted(known)) or 'none'}."
                self.problems.append(f"{key} names “{name}”, which no installed package provides.{hint}")
        return names

    def file(self, key: str) -> str | None:
        value = self.values.get(key)
        if value and not (self.here / value).is_file():
            self.problems.append(f"{key} names {value}, and there is no such file.")
        return str(self.here / value) if value else None

    def address(self, key: str, default: str) -> str:
        value = self.values.get(key) or default
        found = LISTEN_ADDRESS.fullmatch(value)
        if not found:
            self.problems.append(f"{key} is {value!r}. Use HOST:PORT, such as {default}.")
            return default
        if not 0 < int(found["port"]) < 65536:
            self.problems.append(f"{key} is {value!r}. A port is a number from 1 to 65535, as in {default}.")
        return value


def did_you_mean(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f" Did you mean {near[0]}?" if near else ""
