"""What every form shares: the person's language, values from the request, errors from the verbs."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pyramid.request import Request
from wtforms import Form as BaseForm
from wtforms import IntegerField, SelectField
from wtforms.fields import SelectChoice
from wtforms.validators import StopValidation
from wtforms.widgets import TextInput

from mailganer.errors import InputError, _
from mailganer.web.localization import finalize


def wrong(request: Request, page: dict[str, Any]) -> dict[str, Any]:
    """The same page again, with what is wrong beside its fields: 422, so that nothing is kept."""
    request.response.status_int = 422
    return page


def number_of(text: str | None) -> int | None:
    """An id out of an address or a form; None for anything else."""
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 19 else None


def whole_number(said: str) -> int | str:
    """Return the whole number that was typed, "1 000" too; anything else as text that is none.

    "2.000" is 2 to pydantic and two thousand to many people: with a comma it is neither.
    """
    text = "".join(said.split())
    try:
        return int(text)
    except ValueError:
        return said.replace(".", ",")


class WholeNumberField(IntegerField):
    """A whole number in a text field: browsers drop the comma from a number field, and 2,525 became 2525."""

    widget = TextInput()

    def process_formdata(self, valuelist: list[str]) -> None:
        self.data = None
        if not valuelist or not valuelist[0].strip():
            return
        number = whole_number(valuelist[0])
        if isinstance(number, str):
            raise ValueError(_("A whole number is expected."))
        self.data = number

    def pre_validate(self, _form: BaseForm) -> None:
        """Say nothing of the bounds of what is no number."""
        if self.process_errors:
            raise StopValidation


def choices(pairs: Iterable[tuple[str, str]]) -> list[SelectChoice]:
    """``(value, words)`` as WTForms wants them."""
    return [SelectChoice(value, words) for value, words in pairs]


class Form(BaseForm):
    """A WTForms form that is filled from a posted request. CSRF is Pyramid's (see ``ui.form``)."""

    def __init__(self, *args: Any, **values: Any) -> None:
        super().__init__(*args, **values)
        for field in self:  # what WTForms writes by itself does not pass through the templates' translation
            if isinstance(field, SelectField) and field.choices:
                field.choices = [SelectChoice(c.value, finalize(c.label)) for c in field.choices]

    @classmethod
    def of(cls, request: Request, obj: object = None, **values: Any) -> "Form":
        """The form as posted, or as ``obj`` and ``values`` say when nothing was posted."""
        posted = request.POST if request.method == "POST" else None
        return cls(posted, obj, meta={"locales": [request.locale_name]}, **values)

    def take(self, error: InputError) -> None:
        """Shows the errors of a verb beside their fields, and those without a field above the form."""
        for name, message in error.fields.items():
            if name in self._fields:
                self._fields[name].errors = [*self._fields[name].errors, message]
            else:
                self.form_errors.append(message)

    def attempt(self, verb: Callable[[], Any]) -> Any:
        """What ``verb`` returns; None when it refuses the values, which then stand in the form."""
        try:
            return verb()
        except InputError as error:
            self.take(error)
            return None

    def texts(self, *names: str) -> Mapping[str, str]:
        """The values of text fields, without surrounding space."""
        return {name: (self._fields[name].data or "").strip() for name in names}
