"""Settings of a backend: their JSON Schema, their secrets, and how they are stored."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, PydanticUserError, SecretStr, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, JsonSchemaWarningKind


class _AnySchema(GenerateJsonSchema):
    """JSON Schema generator that allows any value for types of plugins that JSON Schema cannot express."""

    ignored_warning_kinds: set[JsonSchemaWarningKind] = {  # noqa: RUF012 - pydantic's own shape
        "skipped-choice",
        "non-serializable-default",
    }

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> JsonSchemaValue:
        return {}


def settings_schema(settings: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema of a backend's settings, as they are given. Secrets are ``writeOnly``."""
    schema = settings.model_json_schema(schema_generator=_AnySchema)
    secrets = secret_fields(settings)
    for name, info in settings.model_fields.items():
        known = schema["properties"].get(info.alias or name, {})
        if name in secrets:
            known["writeOnly"] = True
            known.pop("default", None)
        elif info.default_factory is not None and not info.default_factory_takes_validated_data:
            made = info.get_default(call_default_factory=True)
            known["default"] = TypeAdapter(Any).dump_python(made, mode="json", fallback=str)
    return schema


def lists_among(settings: type[BaseModel]) -> frozenset[str]:
    """Return the names of the settings that take several values."""
    properties = settings_schema(settings).get("properties", {})
    return frozenset(
        name
        for name, known in properties.items()
        if any(each.get("type") == "array" for each in (known, *known.get("anyOf", ())))
    )


def secret_fields(settings: type[BaseModel]) -> frozenset[str]:
    """Return the fields that are stored encrypted and never shown: those with a ``SecretStr`` type."""
    return frozenset(name for name, info in settings.model_fields.items() if _holds_secret(info.annotation))


def _holds_secret(annotation: object) -> bool:
    return annotation is SecretStr or any(_holds_secret(part) for part in typing.get_args(annotation))


def stored_settings(model: type[BaseModel], stored: Mapping[str, Any]) -> BaseModel:
    """Return settings from their non-secret part, for uses that need no login."""
    values = {}
    for name, value in stored.items():
        info = model.model_fields.get(name)
        if info is None or info.annotation is None:
            continue
        try:  # an Enum is stored as its value
            values[name] = TypeAdapter(info.annotation).validate_python(value)
        except (ValidationError, PydanticUserError):
            values[name] = value
    return model.model_construct(**values)


def split_settings(settings: BaseModel) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the settings as plain JSON values: the public ones, and the secrets to encrypt."""
    secrets = secret_fields(type(settings))
    public = settings.model_dump(mode="json", exclude=set(secrets))
    hidden = {name: getattr(settings, name) for name in secrets}
    return public, {name: value.get_secret_value() for name, value in hidden.items() if value is not None}
