"""Registry of backends: found by entry point, chosen and ordered by configuration."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import BaseModel, ValidationError

from ..errors import BackendMissing, InputError, SettingsError, _
from .addresses import normalise_email
from .base import Backend
from .network import Network
from .setting_errors import sentence

GROUP = "mailganer.backends"


@dataclass(frozen=True)
class Registry:
    """The enabled backends, in menu order."""

    types: tuple[type[Backend], ...]
    options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    network: Network = field(default_factory=Network)

    @property
    def names(self) -> tuple[str, ...]:
        """Names in menu order."""
        return tuple(backend.name for backend in self.types)

    @cached_property
    def problems(self) -> tuple[str, ...]:
        """A sentence for each installed plugin that is neither enabled nor usable. For the doctor."""
        others = [point for point in _installed() if point.name not in self.names]
        found = (_load(point) for point in others)
        return tuple(problem for problem in found if isinstance(problem, str))

    def get(self, name: str) -> type[Backend]:
        """Return the backend of this name. Raises ``BackendMissing``."""
        for backend in self.types:
            if backend.name == name:
                return backend
        raise BackendMissing(
            _(
                "The sender backend “${name}” is not enabled. Enabled backends: ${names}.",
                mapping={"name": name, "names": ", ".join(self.names)},
            )
        )

    def for_email(self, email: str) -> type[Backend]:
        """Return the backend that claims the address's domain, else the first that claims no domains."""
        claiming = self._claiming(email)
        if claiming is not None:
            return claiming
        for backend in self.types:
            if not backend.domains:
                return backend
        raise BackendMissing(
            _(
                "Addresses at ${domain} cannot be used here. Enabled backends: ${names}.",
                mapping={"domain": _domain(email), "names": ", ".join(self.names)},
            )
        )

    def open(self, name: str, email: str, settings: Mapping[str, Any]) -> Backend:
        """Return the account of an address. Does not use the network.

        Raises ``BackendMissing``, and ``InputError`` with every wrong field, ``email`` among them when
        another enabled backend claims its domain: such addresses authenticate to their own provider only.
        """
        backend = self.get(name)
        address = normalise_email(email)
        claiming = self._claiming(address)
        if claiming is not None and claiming is not backend:
            raise InputError(
                {
                    "email": _(
                        "Addresses at ${domain} must sign in with ${title}.",
                        mapping={"domain": _domain(address), "title": claiming.title},
                    )
                }
            )
        return backend(address, _validated(backend, settings), self.network, self.options.get(name, {}))

    def completed(self, name: str, email: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the given settings, completed by what follows from the address with certainty.

        Nothing is added when the given server is not the known one. Merely likely values are not added: a
        password is sent only to a server that was named.
        """
        backend = self.get(name)
        known = backend.known(email)
        required = {name for name, field in backend.Settings.model_fields.items() if field.is_required()}
        if any(
            _plain(given.get(name, known[name])) != _plain(known[name]) for name in required & known.keys()
        ):
            return dict(given)
        return {**known, **given}

    def _claiming(self, email: str) -> type[Backend] | None:
        domain = _domain(normalise_email(email))
        return next((backend for backend in self.types if domain in backend.domains), None)


def load_backends(
    names: Sequence[str],
    options: Mapping[str, Mapping[str, str]] | None = None,
    network: Network | None = None,
) -> Registry:
    """Load the enabled backends.

    Raises ``SettingsError`` with a sentence for each unusable backend, and for each unknown option.
    """
    points = _installed()
    types: list[type[Backend]] = []
    problems: list[str] = []
    for name in dict.fromkeys(names):
        loaded = _find(name, points)
        if isinstance(loaded, type):
            types.append(loaded)
            problems += _unknown_options(loaded, (options or {}).get(name, {}))
        else:
            problems.append(loaded)
    if not names:
        problems.append("mailganer.backends names no sender backend. Name at least one, for example: smtp.")
    if problems:
        raise SettingsError(problems)
    return Registry(tuple(types), dict(options or {}), network or Network())


def _installed() -> list[EntryPoint]:
    # The same distribution can be on the path twice (a checkout and its installation); that is no conflict.
    return list({(point.name, point.value): point for point in entry_points(group=GROUP)}.values())


def _find(name: str, points: Sequence[EntryPoint]) -> type[Backend] | str:
    """Return the class, or the sentence that explains why there is none. For the operator, so in English."""
    named = [point for point in points if point.name == name]
    if not named:
        known = ", ".join(sorted({point.name for point in points})) or "none"
        return f"mailganer.backends names “{name}”, which no installed package provides. There are: {known}."
    if len(named) > 1:
        packages = ", ".join(_package(point) for point in named)
        return f"Two packages provide the sender backend “{name}”: {packages}. Uninstall one of them."
    return _load(named[0])


def _load(point: EntryPoint) -> type[Backend] | str:
    try:
        loaded = point.load()
    except (Exception, SystemExit) as error:  # a third-party module may raise anything
        return _broken(point, f"{type(error).__name__}: {error}")
    flaw = _flaw(point.name, loaded)
    return _broken(point, flaw) if flaw else loaded


def _flaw(name: str, loaded: object) -> str:
    """Return why an object is not a usable backend class, in a programmer's terms; empty if it is."""
    if not (isinstance(loaded, type) and issubclass(loaded, Backend)):
        return f"{loaded!r} is not a subclass of mailganer.backends.Backend"
    if inspect.isabstract(loaded):
        return "it does not define " + ", ".join(sorted(loaded.__abstractmethods__))
    missing = [attribute for attribute in ("name", "title", "Settings") if not hasattr(loaded, attribute)]
    if missing:
        return "it does not define " + ", ".join(missing)
    if loaded.name != name:
        return f"its name is {loaded.name!r}, its entry point is called {name!r}"
    if not (isinstance(loaded.Settings, type) and issubclass(loaded.Settings, BaseModel)):
        return "its Settings is not a pydantic model"
    return ""


def _unknown_options(backend: type[Backend], options: Mapping[str, str]) -> list[str]:
    """Return a sentence for each option that the backend does not read."""
    known = backend.option_names
    if known is None:
        return []
    return [_unknown(backend.name, option, known) for option in options if option not in known]


def _unknown(name: str, option: str, known: frozenset[str]) -> str:
    key = f"mailganer.backend.{name}.{option}"
    near = difflib.get_close_matches(option, known, n=1)
    if near:
        return f"{key} is not a setting we know. Did you mean mailganer.backend.{name}.{near[0]}?"
    there_are = ", ".join(sorted(known)) or "none"
    return f"{key} is not a setting we know. Options of the sender backend “{name}”: {there_are}."


def _broken(point: EntryPoint, reason: str) -> str:
    reason = " ".join(reason.split()).rstrip(".")
    return f"The sender backend “{point.name}” of {_package(point)} cannot be used: {reason}."


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


def _domain(email: str) -> str:
    return email.strip().rpartition("@")[2].lower()


def _validated(backend: type[Backend], settings: Mapping[str, Any]) -> BaseModel:
    try:
        return backend.Settings.model_validate(dict(settings))
    except ValidationError as error:
        wrong: dict[str, str] = {}
        for detail in error.errors():
            name = str(detail["loc"][0]) if detail["loc"] else "settings"
            wrong.setdefault(name, sentence(detail))
        raise InputError(wrong) from None


def require_known(backend: type[Backend], given: Iterable[str], beside: Iterable[str] = ()) -> None:
    """Raise ``InputError`` for settings that the backend does not have: a misspelt one would have no effect.

    ``beside``: other names that are allowed there, to suggest for a misspelt one.
    """
    if backend.Settings.model_config.get("extra") == "allow":
        return
    fields = backend.Settings.model_fields
    aliases = [info.alias for info in fields.values() if info.alias]
    known = [*fields, *aliases]
    unknown = [name for name in given if name not in known]
    if unknown:
        raise InputError({name[:200]: _no_field(name, [*known, *beside]) for name in unknown[:100]})


def _no_field(name: str, known: Sequence[str]) -> str:
    likely = difflib.get_close_matches(name, known, n=1)
    if likely:
        return _("Unknown field. Did you mean “${likely}”?", mapping={"likely": likely[0]})
    return _("Unknown field.")


def _plain(value: Any) -> Any:
    """Return a choice in its JSON form: the value of an Enum."""
    return value.value if isinstance(value, Enum) else value
