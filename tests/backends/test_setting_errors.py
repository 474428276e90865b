"""Every error of a settings model is a translated sentence, never pydantic's English."""

import typing
from collections import defaultdict
from decimal import Decimal
from importlib.resources import files
from typing import Annotated, Any
from uuid import UUID

import pytest
from pydantic import (
    AfterValidator,
    BaseModel,
    ByteSize,
    Field,
    FilePath,
    HttpUrl,
    IPvAnyAddress,
    PastDate,
    SecretStr,
    ValidationError,
    create_model,
)
from pydantic_core import PydanticCustomError, core_schema
from pyramid.i18n import make_localizer
from translationstring import TranslationString

from mailganer.backends.setting_errors import sentence

RUSSIAN = make_localizer("ru", [str(files("mailganer") / "locale")])


def refused(annotation: Any, value: Any) -> str:
    model: type[BaseModel] = create_model("Settings", value=(annotation, ...))
    with pytest.raises(ValidationError) as raised:
        model.model_validate({"value": value})
    return sentence(raised.value.errors()[0])


@pytest.mark.parametrize(
    ("annotation", "value", "english", "russian"),
    [
        (Annotated[SecretStr, Field(min_length=4)], "abc", "at least 4 characters", "не меньше 4 символов"),
        (Annotated[str, Field(min_length=3)], "a", "at least 3 characters", "не меньше 3 символов"),
        (Annotated[str, Field(min_length=3)], "", "This field is required.", "Заполните"),
        (Annotated[SecretStr, Field(max_length=2)], "abc", "at most 2 characters", "не больше 2 символов"),
        (Annotated[list[str], Field(min_length=2)], ["x"], "at least 2 entries", "не меньше 2"),
        (Annotated[list[str], Field(min_length=1)], [], "This field is required.", "Заполните"),
        (Annotated[int, Field(multiple_of=5)], 7, "a multiple of 5", "делиться на 5"),
        (Annotated[Decimal, Field(decimal_places=1)], "0.25", "at most 1 decimal places", "после запятой"),
        (HttpUrl, "ftp://x", "must start with one of", "должен начинаться"),
        (UUID, "x", "an identifier such as", "идентификатор"),
        (IPvAnyAddress, "x", "an IP address such as", "IP-адрес"),
        (ByteSize, "x", "a size such as", "размер"),
        (FilePath, "/nowhere", "does not exist", "файла или папки нет"),
        (PastDate, "2999-01-01", "in the past", "в прошлом"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_in_both_languages(
    annotation: Any, value: Any, english: str, russian: str
) -> None:
    said = refused(annotation, value)
    assert english in TranslationString.interpolate(said)
    assert russian in RUSSIAN.translate(said)


@pytest.mark.parametrize("kind", typing.get_args(core_schema.ErrorType))
def test_no_error_of_pydantic_is_passed_on_in_its_own_words(kind: str) -> None:
    detail = {"type": kind, "msg": "Input should be", "url": "https://", "input": "x", "loc": ("a",)}
    context = {"expected": "'a' or 'b'", "multiple_of": 5}
    said = sentence(detail | {"ctx": defaultdict(lambda: 3, context)})
    assert isinstance(said, TranslationString)
    assert "Input should be" not in said.interpolate()
    assert RUSSIAN.translate(said) != said.interpolate()


def test_an_authors_own_error_keeps_its_words() -> None:
    def refuse(value: str) -> str:
        raise PydanticCustomError("pigeon", "A pigeon needs a name.")

    assert refused(Annotated[str, AfterValidator(refuse)], "x") == "A pigeon needs a name."
