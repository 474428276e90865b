"""Form fields for the settings of a backend, with type, default, limits and choices of the model."""

import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, ClassVar

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from wtforms import BooleanField, Field, PasswordField, SelectField, StringField, TextAreaField
from wtforms.validators import Optional

from mailganer.backends import secret_fields
from mailganer.errors import _

from .forms import choices, whole_number

CHOICES = {
    "tls": _("TLS"),
    "starttls": _("STARTTLS"),
    "none": _("None (local only)"),
}
PLAIN = {"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
SEVERAL = (list, tuple, set, frozenset)


@dataclass(frozen=True)
class Setting:
    """A field of a backend's ``Settings`` in a form."""

    KEPT: ClassVar[object] = object()  # marks a field that was not filled in and is not passed on

    name: str
    info: FieldInfo
    kind: Any  # without ``| None``
    nullable: bool
    secret: bool
    choices: Mapping[str, Any]  # form value -> value of the setting; empty for free input
    keep: bool = False  # an empty secret keeps its stored value

    @property
    def required(self) -> bool:
        return self.info.is_required()

    @property
    def default(self) -> Any:
        return None if self.required else self.info.get_default(call_default_factory=True)

    # --- to the form

    def shown(self, values: Mapping[str, Any]) -> Any:
        """Return the initial value: the known one, else the default. Never a secret."""
        if self.secret:
            return None
        value = values.get(self.name, self.default)
        if self.choices:
            return self._word_of(value)
        if _is_one_of_several(self.kind) and isinstance(value, SEVERAL):
            return "\n".join(map(str, value))
        return value.value if isinstance(value, Enum) else value

    def field(self) -> Field:
        """Return the field, unbound."""
        label, words = self.info.title or self.name, self.info.description or ""
        if self.secret:
            return self._secret(label, words)
        if self.choices:
            return SelectField(label, choices=choices(self._options()), description=words)
        if self.kind is bool:
            return BooleanField(label, description=words)
        if self.kind in (int, float, Decimal):
            return self._number_field(label, words)
        if _is_one_of_several(self.kind):
            words = words or _("One per line.")
            return TextAreaField(label, self._optional(), description=words, render_kw={**PLAIN, "rows": "3"})
        return StringField(label, self._optional(), description=words, render_kw=dict(PLAIN))

    def _secret(self, label: str, words: str) -> Field:
        render = {"autocomplete": "current-password", "spellcheck": "false"}
        words = _("Leave empty to keep the current value.") if self.keep else words
        validators = [Optional()] if self.keep or self.nullable else []
        return PasswordField(label, validators, description=words, render_kw=render)

    def _optional(self) -> list[Optional]:
        return [Optional()] if self.nullable or (not self.required and self.default == "") else []

    def _options(self) -> Iterable[tuple[str, str]]:
        if self.nullable or self.required:  # force a choice instead of preselecting the first one
            yield "", "—"
        yield from ((word, CHOICES.get(word, _label(word, value))) for word, value in self.choices.items())

    def _number_field(self, label: str, words: str) -> Field:
        """Return a text field for a number: browsers turn 2,525 in a number field into 2525."""
        if self.kind is int:
            return StringField(label, self._optional(), description=words, render_kw=self._digits())
        render = {**PLAIN, "inputmode": "decimal"}
        return StringField(label, self._optional(), description=words, render_kw=render)

    def _digits(self) -> dict[str, str]:
        """Request the numeric keyboard of phones, which has no minus, if the number cannot be negative."""
        least = self._bound("ge"), self._bound("gt")
        is_positive = any(bound is not None and bound >= 0 for bound in least)
        return {**PLAIN, "inputmode": "numeric"} if is_positive else dict(PLAIN)

    def _bound(self, name: str) -> Any:
        return next(
            (bound for each in self.info.metadata if (bound := getattr(each, name, None)) is not None), None
        )

    def _word_of(self, value: Any) -> str:
        """Return the choice for a value, which may be a stored one."""
        return next((word for word, each in self.choices.items() if _word(each) == _word(value)), "")

    # --- from the form

    def given(self, field: Field) -> Any:
        """Return the input converted for the model; invalid input is returned as typed."""
        entered = field.data
        if self.kind is bool and not self.choices:
            return bool(entered)
        if entered in (None, ""):
            return self._empty(sent=bool(field.raw_data))
        if self.choices:
            return self.choices.get(entered, entered)
        if not isinstance(entered, str):
            return entered  # the stored value: the form was not posted
        if self.kind in (int, float, Decimal):
            return _number(entered, self.kind)
        if _is_one_of_several(self.kind):
            return [line.strip() for line in entered.splitlines() if line.strip()]
        return entered

    def _empty(self, *, sent: bool) -> Any:
        """Return the value for an empty field; ``KEPT`` if the form had no such field."""
        if self.secret:
            return "" if self.keep else None if self.required else self.KEPT
        if self.required or self.nullable:
            return None
        if not sent:
            return self.KEPT
        if _is_one_of_several(self.kind):
            return []
        return "" if self.kind is str else None


def settings_of(model: type[BaseModel], *, allow_private: bool, keep: bool) -> tuple[Setting, ...]:
    """Return the settings that the form asks for, in their order."""
    secrets = secret_fields(model)
    return tuple(
        _setting(name, info, name in secrets, allow_private, keep)
        for name, info in model.model_fields.items()
        if _is_shown(info)
    )


def _setting(name: str, info: FieldInfo, secret: bool, allow_private: bool, keep: bool) -> Setting:
    kind, nullable = _bare(info.annotation)
    words = {} if secret else _choices(kind, nullable, allow_private)
    return Setting(name, info, kind, nullable, secret, words, keep)


def _choices(kind: Any, nullable: bool, allow_private: bool) -> dict[str, Any]:
    if typing.get_origin(kind) is typing.Literal:
        values = typing.get_args(kind)
        return {_word(value): value for value in values if value != "none" or allow_private}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {_word(member): member for member in kind}
    if kind is bool and nullable:
        return {"yes": True, "no": False}
    return {}


def _word(value: Any) -> str:
    return str(value.value if isinstance(value, Enum) else value)


def _label(word: str, value: Any) -> str:
    if isinstance(value, bool):
        return _("Yes") if value else _("No")
    label = getattr(value, "label", None) if isinstance(value, Enum) else None
    return label if isinstance(label, str) else word


def _is_shown(info: FieldInfo) -> bool:
    extra = info.json_schema_extra
    return not (isinstance(extra, dict) and extra.get("form") is False)


def _bare(annotation: Any) -> tuple[Any, bool]:
    """Return ``int`` for ``int | None``, and whether None is allowed."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _bare(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        parts = [part for part in typing.get_args(annotation) if part is not type(None)]
        return _bare(parts[0])[0], len(parts) < len(typing.get_args(annotation))
    return annotation, False


def _is_one_of_several(kind: Any) -> bool:
    return (typing.get_origin(kind) or kind) in SEVERAL


def _number(entered: str, kind: Any) -> Any:
    """Parse a number as users write it, including "0,5" and "1 000"."""
    if kind is int:
        return whole_number(entered)
    text = "".join(entered.split()).replace(",", ".")
    try:
        return Decimal(text) if kind is Decimal else kind(text)
    except (ValueError, ArithmeticError):
        return entered
