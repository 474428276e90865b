"""The height of a preview, estimated from the email alone."""

import pytest

from mailganer.i18n.ready_templates import ready_templates
from mailganer.rendering import Source, compile_email, safe_render
from mailganer.rendering.preview_size import preview_size


@pytest.mark.parametrize(
    ("body", "size"),
    [
        ("", "small"),
        ("<p>Hello.</p>", "small"),
        ("<p>Hello.</p><div style='display:none'>" + "<b>hidden</b> " * 200 + "<br></div>", "small"),
        ("<style>" + "p { color: red } " * 200 + "</style><p>Hello.</p>", "small"),
        ("<p>A paragraph of an email.</p>" * 8, "medium"),
        ("<img src='a.png' height='300' alt=''>", "medium"),
        ("<p>A paragraph of an email.</p>" * 30, ""),
        ("<td style='height: 900px'>x</td>", ""),
        ("<img src='a.png' alt=''>" * 3, ""),
    ],
)
def test_a_short_email_is_short_and_what_is_not_seen_does_not_count(body: str, size: str) -> None:
    assert preview_size(body) == size


def test_the_preheader_makes_no_email_longer_and_ready_templates_are_long() -> None:
    email = compile_email(Source("Hi", "Words beside the subject. " * 4, "<p>Hello.</p>", ""))
    assert preview_size(safe_render(email, {}).html) == "small"
    for ready in ready_templates("en"):
        assert preview_size(ready.html) == ""
