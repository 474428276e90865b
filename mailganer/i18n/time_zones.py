"""Time zones: their names in each language, and the list to choose from."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from babel.core import get_global

from ..errors import InputError, _
from .languages import SOURCE_LANGUAGE, language_of

CONTINENTS = (
    "Africa",
    "America",
    "Antarctica",
    "Arctic",
    "Asia",
    "Atlantic",
    "Australia",
    "Europe",
    "Indian",
    "Pacific",
)


def time_zone(name: str) -> tzinfo:
    """Return the time zone with this name; UTC when there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def check_time_zone(name: str) -> str:
    """Return ``name`` if it is a time zone. Raise ``InputError`` otherwise."""
    if name != "UTC" and name not in available_timezones():
        raise InputError({"timezone": _("Choose a time zone from the list, such as Europe/Moscow.")})
    return name


def time_zone_name(name: str, code: str = SOURCE_LANGUAGE) -> str:
    """Return the localized name of a time zone: "Moscow"."""
    return "UTC" if name == "UTC" else _city(name, code)


def time_zone_choices(code: str, now: datetime) -> list[tuple[str, str]]:
    """Return every time zone with its UTC offset on this day, from west to east, without old names."""
    return list(_choices(code, now.date()))


def _old_names() -> Mapping[str, str]:
    """Return old name -> new name. Babel keeps the table once it is read, which takes two megabytes."""
    names: Mapping[str, str] = get_global("zone_aliases")
    return names


@lru_cache(maxsize=8)
def _choices(code: str, today: date) -> tuple[tuple[str, str], ...]:
    noon = datetime(today.year, today.month, today.day, 12, tzinfo=UTC)
    names = (each for each in available_timezones() - _old_names().keys() if each.split("/")[0] in CONTINENTS)
    places = sorted((noon.astimezone(ZoneInfo(name)).utcoffset(), _city(name, code), name) for name in names)
    return (("UTC", "UTC"), *((name, f"{_offset(offset)} · {city}") for offset, city, name in places))


def _city(name: str, code: str) -> str:
    data = language_of(code).locale.time_zones.get(_old_names().get(name, name), {})
    return str(data.get("city") or name.rpartition("/")[2].replace("_", " "))


def _offset(offset: timedelta | None) -> str:
    minutes = int((offset or timedelta()).total_seconds() // 60)
    return f"UTC{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
