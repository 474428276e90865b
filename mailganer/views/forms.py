"""Base class and helpers of forms: locale, values from the request, errors from the domain."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from pyramid.request import Request
from wtforms import Form as BaseForm
from wtforms import IntegerField, SelectField
from wtforms.fields import SelectChoice
from wtforms.validators import StopValidation
from wtforms.widgets import TextInput

from mailganer.errors import InputError, _
from mailganer.web.localization import finalize


def with_errors(request: Request, page: dict[str, Any]) -> dict[str, Any]:
    """Return the same page with errors beside its fields. The status 422 rolls changes back."""
    request.response.status_int = 422
    return page


def number_of(text: str | None) -> int | None:
    """Parse an id from a URL or a form; None for anything else."""
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 19 else None


def whole_number(entered: str) -> int | str:
    """Parse a whole number, "1 000" too; return any other text so that it is no number for pydantic either.

    pydantic reads "2.000" as 2, and many users as two thousand: with a comma it is neither.
    """
    text = "".join(entered.split())
    try:
        return int(text)
    except ValueError:
        return entered.replace(".", ",")


class WholeNumberField(IntegerField):  # type: ignore[misc]  # WTForms has no types
    """Whole number in a text field: browsers turn 2,525 in a number field into 2525."""

    widget = TextInput()

    def process_formdata(self, valuelist: list[str]) -> None:
        self.data = None
        if not valuelist or not valuelist[0].strip():
            return
        number = whole_number(valuelist[0])
        if isinstance(number, str):
            raise ValueError(_("Enter a whole number."))
        self.data = number

    def pre_validate(self, _form: BaseForm) -> None:
        """Skip the range check for invalid input."""
        if self.process_errors:
            raise StopValidation


def choices(pairs: Iterable[tuple[object, str]]) -> list[SelectChoice]:
    """Convert ``(value, label)`` pairs for WTForms."""
    return [SelectChoice(value, words) for value, words in pairs]


class Form(BaseForm):  # type: ignore[misc]  # WTForms has no types
    """WTForms form filled from a posted request. CSRF protection is Pyramid's (see ``ui.form``)."""

    def __init__(self, *args: Any, **values: Any) -> None:
        super().__init__(*args, **values)
        for field in self:  # WTForms renders these itself, so templates do not translate them
            if isinstance(field, SelectField) and field.choices:
                field.choices = [SelectChoice(c.value, finalize(c.label)) for c in field.choices]

    @classmethod
    def of(cls, request: Request, obj: object = None, **values: Any) -> Self:
        """Return the form as posted, or filled from ``obj`` and ``values`` if nothing was posted."""
        posted = request.POST if request.method == "POST" else None
        return cls(posted, obj, meta={"locales": [request.locale_name]}, **values)

    def take(self, error: InputError) -> None:
        """Add the errors of a domain function to their fields, and those without a field above the form."""
        for name, message in error.fields.items():
            if name in self._fields:
                self._fields[name].errors = [*self._fields[name].errors, message]
            else:
                self.form_errors.append(message)

    def attempt(self, verb: Callable[[], Any]) -> Any:
        """Return the result of ``verb``; on ``InputError`` add the errors to the form and return None."""
        try:
            return verb()
        except InputError as error:
            self.take(error)
            return None

    def texts(self, *names: str) -> Mapping[str, str]:
        """Return the values of text fields, stripped."""
        return {name: (self._fields[name].data or "").strip() for name in names}
