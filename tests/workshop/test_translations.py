"""All texts of templates, errors and forms are translatable, and Russian has all translations."""

import ast
import gettext
import importlib.util
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from jinja2 import Environment, nodes

from mailganer.i18n.languages import language_of

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "mailganer"
TEMPLATES = sorted((PACKAGE / "templates").rglob("*.jinja2"))
MODULES = sorted(PACKAGE.rglob("*.py"))

# Texts that are the same in every language.
NAMES = {"Mailganer", "Gmail", "English", "Русский", "CSV", "HTML", "API", "UTF-8", "MIT", "RU", "EN"}
SPOKEN_ATTRIBUTES = {"alt", "title", "placeholder", "aria-label", "aria-description", "label"}
SILENT_ELEMENTS = {"script", "style", "code", "pre", "kbd", "samp"}
TRANSLATING = {"_", "gettext", "ngettext", "pgettext", "npgettext"}
# For operators, in terminals and logs: English.
FOR_OPERATORS = {"cli", "drill", "settings", "broker.py", "migrations"}

environment = Environment(
    extensions=["jinja2.ext.i18n", "jinja2.ext.do", "jinja2.ext.loopcontrols"], autoescape=True
)


def speaks(text):
    """Return whether it contains words that need a translation."""
    # An address, and the name of a header, are the same in any language.
    text = re.sub(r"&\w+;|\bMessage-ID\b|\S+@\S+|\S+://\S+|[\w-]+(\.[\w-]+)+", " ", text.replace("\0", " "))
    words = re.findall(r"[^\W\d_]{2,}", text)
    return [word for word in words if word not in NAMES]


class Spoken(HTMLParser):
    """Collects the texts that a user reads or a screen reader speaks."""

    def __init__(self):
        super().__init__()
        self.found, self._silent = [], 0

    def handle_starttag(self, tag, attributes):
        self._silent += tag in SILENT_ELEMENTS
        self.found += [
            value for name, value in attributes if name in SPOKEN_ATTRIBUTES and value and speaks(value)
        ]

    def handle_endtag(self, tag):
        self._silent -= tag in SILENT_ELEMENTS and self._silent > 0

    def handle_data(self, data):
        if not self._silent and speaks(data):
            self.found.append(data.replace("\0", " ").strip())


def literal_text(source):
    """Return a template's HTML with a mark for each expression, without statements and translated blocks."""
    parts, translated, kind = [], False, None
    for _line, token, value in environment.lex(source):
        if token == "block_begin":
            kind = "first"
        elif kind == "first" and token == "name":
            translated = value == "trans" or (translated and value != "endtrans")
            kind = None
        elif token == "variable_end" and not translated:
            in_a_tag = re.search(r"</?\w*$", "".join(parts[-1:]))
            parts.append("span" if in_a_tag else "\0")
        elif token == "data" and not translated:
            parts.append(value)
    return "".join(parts)


def literal_strings(source):
    """Return sentences passed to macros and filters without translation."""
    tree = environment.parse(source)
    translated = {
        id(const)
        for call in tree.find_all(nodes.Call)
        if isinstance(call.node, nodes.Name) and call.node.name in TRANSLATING
        for const in call.find_all(nodes.Const)
    }
    for const in tree.find_all(nodes.Const):
        if isinstance(const.value, str) and id(const) not in translated and _is_sentence(const.value):
            yield const.value


def _is_sentence(text):
    return bool(re.match(r"[A-ZА-ЯЁ][\w'’-]*([ ,][\w'’“„«-]+)+", text)) and bool(speaks(text))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_every_text_of_a_template_goes_through_translation(path):
    source = path.read_text()
    spoken = Spoken()
    spoken.feed(literal_text(source))
    assert spoken.found + list(literal_strings(source)) == []


def test_a_text_that_escapes_is_found():
    spoken = Spoken()
    spoken.feed(literal_text('<p title="Hello there">{{ x }} emails {% trans %}fine{% endtrans %}</p>'))
    assert spoken.found == ["Hello there", "emails"]
    assert list(literal_strings('{{ button("Send it now") }}{{ _("Send it later") }}')) == ["Send it now"]


def calls(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            yield name, node


def error_names():
    tree = ast.parse((PACKAGE / "errors.py").read_text())
    return {node.name for node in tree.body if isinstance(node, ast.ClassDef)} - {
        "SettingsError",
        "InputError",
    }


def is_bare(argument):
    """A text that is not translated."""
    if isinstance(argument, ast.JoinedStr):
        return any(isinstance(part, ast.Constant) and speaks(str(part.value)) for part in argument.values)
    return (
        isinstance(argument, ast.Constant)
        and isinstance(argument.value, str)
        and bool(speaks(argument.value))
    )


def _is_label(argument):
    """A field of a form has the label "Name"; a field of a subscriber may be called "name"."""
    return isinstance(argument, ast.JoinedStr) or argument.value[:1].isupper()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_sentence_of_an_error_a_notice_and_a_form_goes_through_translation(path):
    if path.relative_to(PACKAGE).parts[0] in FOR_OPERATORS:
        return
    speaking = error_names() | {"flash"}
    bare = []
    for name, call in calls(ast.parse(path.read_text())):
        labels = name.endswith("Field") and is_bare(call.args[0]) and _is_label(call.args[0])
        if labels or (name in speaking and is_bare(call.args[0])):
            bare.append(f"{path.name}:{call.lineno} {ast.unparse(call.args[0])}")
        if name == "InputError" and isinstance(call.args[0], ast.Dict):
            values = [value for value in call.args[0].values if is_bare(value)]
            bare += [f"{path.name}:{value.lineno} {ast.unparse(value)}" for value in values]
    assert bare == []


@pytest.fixture(scope="module")
def translations():
    spec = importlib.util.spec_from_file_location("translations", ROOT / "tools" / "translations.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_plural_rule_of_each_catalogue_is_that_of_cldr(translations):
    for code in translations.translated_languages():
        catalogue = translations.read_catalogue(code)
        form, category = gettext.c2py(catalogue.plural_expr), language_of(code).plural_form
        pairs = {(form(number), category(number)) for number in range(200)}
        assert len(pairs) == catalogue.num_plurals == len({form for form, _category in pairs})


def test_every_text_has_its_russian(translations):
    missing = [message.id for message in translations.untranslated(translations.brought_up_to_date("ru"))]
    assert missing == []


def texts(catalogue):
    """Return contexts and English texts with their translations; plural forms are tuples."""
    return {
        (each.context, _plain(each.id)): _plain(each.string)
        for each in catalogue
        if each.id and any(each.string or "")
    }


def _plain(text):
    return tuple(text) if isinstance(text, list) else text


def test_what_is_shipped_is_what_was_translated(translations):
    from babel.messages.mofile import read_mo

    folder = PACKAGE / "locale" / "ru" / "LC_MESSAGES"
    with (folder / "mailganer.mo").open("rb") as compiled:
        shipped = texts(read_mo(compiled))
    assert shipped == texts(translations.brought_up_to_date("ru")), "run: make translations"


def test_russian_keeps_every_placeholder(translations):
    broken = []
    for message in translations.brought_up_to_date("ru"):
        ids = message.id if isinstance(message.id, tuple) else (message.id,)
        texts = message.string if isinstance(message.string, tuple) else (message.string,)
        wanted = set(re.findall(r"\$\{\w+\}|%\(\w+\)s", ids[-1]))
        for text in filter(None, texts):
            # "1 email" may omit its number; otherwise the values have to match.
            found = set(re.findall(r"\$\{\w+\}|%\(\w+\)s", text))
            if message.id and (found - wanted or (len(texts) == 1 and found != wanted)):
                broken.append((ids[0], text))
    assert broken == []


def test_russian_has_three_plural_forms(translations):
    catalogue = translations.brought_up_to_date("ru")
    assert catalogue.num_plurals == 3
    counted = [each for each in catalogue if isinstance(each.id, tuple) and any(each.string)]
    assert [each.id[0] for each in counted if len(each.string) != 3] == []
