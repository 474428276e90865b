"""Settings and environment variables with unknown names, which would be ignored silently."""

import difflib
from collections.abc import Iterable
from importlib.metadata import entry_points

from .keys import BACKEND_OPTION, ENVIRONMENT, KEYS, OTHER_VARIABLES
from .plans import plan_keys
from .reader import SettingReader, did_you_mean


def check_keys(reader: SettingReader) -> None:
    """Add a problem for each key that is not a setting."""
    known = KEYS | plan_keys(reader)
    for key in reader.values:
        if option := BACKEND_OPTION.fullmatch(key):
            _check_backend(reader, key, *option.groups())
        elif key.startswith(("mailganer.", "celery.", "sqlalchemy.")) and key not in known:
            reader.problems.append(f"{key} is not a setting we know.{did_you_mean(key, known)}")


def check_variables(reader: SettingReader, names: Iterable[str]) -> None:
    """Add a problem for each misspelt ``MAILGANER_...`` variable: it would be ignored silently."""
    known = ENVIRONMENT.keys() | OTHER_VARIABLES
    for name in sorted({name for name in names if name.startswith("MAILGANER_")} - known):
        reader.problems.append(
            f"{name} is not an environment variable we know.{did_you_mean(name, known)} Correct or remove it."
        )


def _check_backend(reader: SettingReader, key: str, name: str, option: str) -> None:
    """Add a problem for a misspelt backend name.

    Other unknown names may belong to a plugin not installed now.
    """
    known = entry_points(group="mailganer.backends").names
    if name not in known and (near := difflib.get_close_matches(name, known, n=1)):
        meant = f"mailganer.backend.{near[0]}.{option}"
        reader.problems.append(f"{key} is not a setting we know. Did you mean {meant}?")
