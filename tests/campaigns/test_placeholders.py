"""Tags of other programs, in all their spellings."""

from types import SimpleNamespace

import pytest

from mailganer.campaigns.check.placeholders import at_placeholders

NAMES = SimpleNamespace(
    fields=["email", "first_name", "last_name", "city"],
    exact=lambda name: {"city": "city", "CITY": "city"}.get(name, ""),
    likely=lambda name: "",
)


def found_in(html, *, broken=False):
    """The messages about an email; ``broken``: it cannot be compiled."""
    campaign = SimpleNamespace(subject="", preheader="", html=html, text="", variables={})
    return [problem.message for problem in at_placeholders(campaign, NAMES, broken=broken)]


@pytest.mark.parametrize(
    ("tag", "likely"),
    [
        ("*|FNAME|*", "first_name"),
        ("*|MERGE:LNAME|*", "last_name"),
        ("[FNAME]", "first_name"),
        ("[firstname,fallback=there]", "first_name"),
        ("[subscriber:firstname | default:reader]", "first_name"),
        ("[[first_name]]", "first_name"),
        ("%FIRSTNAME%", "first_name"),
        ("%recipient.first_name%", "first_name"),
        ("%%First Name%%", "first_name"),
        ("%%emailaddr%%", "email"),
        ("{first_name}", "first_name"),
        ("{FIRST_NAME|there}", "first_name"),
        ("{$name}", "name"),
        ("{$last_name|default('x')}", "last_name"),
        ("${firstName}", "first_name"),
        ("#FNAME#", "first_name"),
        ("«Имя»", "first_name"),
        ("«Фамилия»", "last_name"),
        ("&lt;&lt;First Name&gt;&gt;", "first_name"),
        ("<<First Name>>", "first_name"),
        ("<%= first_name %>", "first_name"),
        ("&lt;%= user.email %&gt;", "email"),
        ("*|CITY|*", "city"),
        ("{GOROD}", "city"),
        ("*|FN<b>AME</b>|*", "first_name"),
        ("[FNA<i>ME</i>]", "first_name"),
        ("{{ First Name }}", "first_name"),
        ("{{<b>first_name</b>}}", "first_name"),
        ("{{ first_<span>name</span> }}", "first_name"),
        ("{<b>{first_name}</b>}", "first_name"),
        ("{{{first_name}}}", "first_name"),
    ],
)
def test_every_spelling_names_the_likely_variable(tag, likely):
    (found,) = found_in(f"<p>Dear {tag}, the news.</p>", broken="{{" in tag)
    assert found.mapping["likely"] == f"{{{{ {likely} }}}}"


@pytest.mark.parametrize(
    "text",
    [
        "50% off and 20% more",
        "See [1], [a] and [note]",
        "{see below} {x}",
        "«Война и мир», акция «День рождения»",
        "a &lt;&lt; b &gt;&gt; c",
        "#news and #offers, #1",
        "100%",
        "<style>p{color:red} .a{margin:0}</style>",
        "<!--[if mso]><b>x</b><![endif]-->",
        "<!--[if !mso]><!--><i>x</i><!--<![endif]-->",
        "<a href='https://a.test/?q=%d0%bf%d1%80#a'>x</a>",
        "{{ first_name|default('<b>friend</b>') }}",
        "{% if city %}[{{ city }}]{% endif %} {# [FNAME] #}",
        "<script>var a = {name: 1}</script>",
        "write to [email protected]",
    ],
)
def test_ordinary_text_is_no_tag(text):
    assert found_in(f"<p>{text}</p>") == []
