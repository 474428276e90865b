"""The check parses untrusted source in the web process once, even with unclosed constructs."""

import pytest

from mailganer.rendering.foreign_tags import foreign_tags
from mailganer.rendering.link_report import _read

# Scanning again from each of these would take hours for the allowed million characters.
UNITS = (
    "{{ ",
    "{% ",
    "{# ",
    "<a ",
    "<p",
    "<!--",
    "<<a ",
    "<<",
    "«",
    "[",
    "{",
    "%",
    "*|",
    "<%",
    "{{a</b>",
    "{{{",
)


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("unit", UNITS)
def test_what_is_never_closed_is_read_once(unit: str) -> None:
    source = unit * (400_000 // len(unit))
    for broken in (False, True):
        list(foreign_tags(source, html=True, broken=broken))
    _read(source)


@pytest.mark.timeout(60)
def test_spaces_inside_braces_are_read_once() -> None:
    list(foreign_tags("{{" + " " * 400_000 + "x", html=True, broken=True))


def test_code_of_ours_is_no_tag_and_divided_code_is_one() -> None:
    text = "{{ first_name }} {% if vip %}{{ a }}{% endif %} {# {$x} #} *|FNAME|* {{ <b>name</b> }}"
    assert [tag.written for tag in foreign_tags(text)] == ["*|FNAME|*"]
    assert "{{ <b>name</b> }}" not in "".join(tag.written for tag in foreign_tags(text))
    assert [tag.name for tag in foreign_tags("{{ <b>name</b> }}", html=True, broken=True)] == ["name"]


@pytest.mark.parametrize(
    ("written", "name"),
    [("{contactfield=firstname}", "firstname"), ("{leadfield=lastname|Friend}", "lastname")],
)
def test_tags_of_mautic_are_found(written: str, name: str) -> None:
    (tag,) = foreign_tags(f"<p>Hello {written}</p>", html=True)
    assert (tag.written, tag.name, tag.sure) == (written, name, True)
