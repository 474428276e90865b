"""Broken links and tags of other products, found before sending."""

from pathlib import Path

import pytest
from translationstring import TranslationString

from mailganer.campaigns import Severity, update_draft
from mailganer.i18n.ready_templates import ready_templates
from mailganer.models import Subscriber

CASES = Path(__file__).parent / "cases"
RENDERING_CASES = Path(__file__).parents[1] / "rendering/cases"
SOUND = "All links are valid."


@pytest.fixture
def look(session, campaign, checked, now):
    """``look(html, **changes)`` checks this email; returns findings by code, then passes."""

    def look(html, **changes):
        update_draft(session, campaign, {"html": html, "subject": "News", **changes}, now)
        check = checked(campaign)
        found = {}
        for problem in check.problems:
            found.setdefault(problem.code, []).append(words(problem.message))
        return found, [str(message) for message in check.passed]

    return look


def words(message):
    """A message in English, with the sentences inside it."""
    parts = {name: words(value) for name, value in (getattr(message, "mapping", None) or {}).items()}
    return TranslationString(message, mapping=parts).interpolate() if parts else str(message)


def case(name, folder=CASES):
    return (folder / f"{name}.html").read_text("utf-8")


def test_every_dead_link_of_a_page_full_of_links_is_named(look, session, campaign, now):
    values = dict.fromkeys(("page", "slug", "tok"), "")
    found, passed = look(case("links", RENDERING_CASES), variables=values | {"page": "https://shop.test/p"})
    said = " ".join(found["broken_link"])
    for dead in ("www.shop.test", "shop.test/x", "//shop.test/proto", "%7B%7Bpage%7D%7D", "/%7B%7B%20slug"):
        assert dead in said, dead
    for sound in ("tel:", "sms:", "viber:", "tg:", "ftp:", "пример.рф", "/lead", "#sec-2", "SHOP.TEST"):
        assert sound not in said, sound
    assert "Did you mean https://www.shop.test?" in said
    # An empty one, and one that is rendered empty.
    assert "Links that do not work: 2 (“L-empty”, “L-emptyhref”)." in found["dead_links"]
    assert "/rel.png" in found["broken_picture"][0]
    assert SOUND not in passed


@pytest.mark.parametrize(
    "href",
    ["www.a.test", "cid:1", "%7B%7Bpage%7D%7D", "", "#gone"],
)
def test_one_dead_link_is_enough_not_to_say_that_every_link_leads_somewhere(look, href):
    found, passed = look(f"<a href='https://a.test/'>x</a> <a href='{href}'>y</a>")
    assert found.keys() & {"broken_link", "dead_links"}
    assert SOUND not in passed


@pytest.mark.parametrize(
    "href", ["mailto:a@b.test", "tel:+7", "#here", "https://b.test/{{ email|urlencode }}"]
)
def test_links_that_lead_somewhere_are_said_to(look, href):
    html = f"<a href='https://a.test/'>x</a> <a href='{href}'>y</a>"
    html += "<a id='here' href='{{ unsubscribe_url }}'>z</a>"
    found, passed = look(html)
    assert not found.keys() & {"broken_link", "dead_links", "broken_picture", "link_values", "merge_tag"}
    assert SOUND in passed


def test_a_link_only_outlook_reads_is_looked_at_too(look):
    found, _passed = look('<!--[if mso]><v:rect href="www.a.test"></v:rect><![endif]--><p>x</p>')
    assert "www.a.test" in found["broken_link"][0]


def test_a_value_without_a_scheme_is_found_wherever_it_stands_in_the_list(
    look, make, account, readers, session, now
):
    for number, site in enumerate(("https://a.test", "shop.test", "www.b.test", "", "HTTP://c.test")):
        make.subscriber(account, f"s{number}@example.org", (readers,), fields={"site": site})
    found, passed = look(case("h2_site"))
    plain, double = found["link_values"]
    assert "“{{ site }}” does not work" in plain
    assert "(2, for example “shop.test”)" in plain
    assert "“https://{{ site }}” does not work" in double
    assert "(2, for example" in double
    assert SOUND not in passed


def test_values_with_a_scheme_raise_nothing(look, make, account, readers):
    make.subscriber(account, "s@example.org", (readers,), fields={"site": "https://a.test"})
    found, _passed = look("<a href='{{ site|default(\"https://b.test\") }}'>go</a>")
    assert "link_values" not in found
    assert "broken_link" not in found


def test_a_campaigns_own_value_without_a_scheme_is_found(look):
    found, _passed = look("<a href='{{ page }}'>go</a>", variables={"page": "shop.test/sale"})
    assert "Did you mean https://shop.test/sale?" in found["broken_link"][0]


WITH_VARIABLES = {
    "www.shop.test/{{ city }}": "https://www.shop.test/{{ city }}",
    "/u?{{ city }}": "",
    "https://shop.test/%7B%7B slug %7D%7D?c={{ city }}": "https://shop.test/{{ slug }}?c={{ city }}",
    "//shop.test/{{ city|default('x') }}/{{ city }}": "https://shop.test/{{ city|default('x') }}/{{ city }}",
    "https:/s.test/{% if city %}{{ city }}{% endif %}": "https://s.test/{% if city %}{{ city }}{% endif %}",
    "{% if city %}www.b.test/{{ city }}{% endif %}": "https://www.b.test/{{ city }}",
}


@pytest.fixture
def tomsk(make, account, readers, session):
    """Recipients with a city, and a page without a scheme."""
    for subscriber in session.query(Subscriber).filter_by(account_id=account.id):
        subscriber.fields = {"city": "Tomsk & co", "page": "shop.test/x"}


@pytest.mark.parametrize("href", WITH_VARIABLES)
def test_a_link_broken_by_a_value_hides_no_other(look, tomsk, href):
    both, _passed = look(f"""<p><a href="{href}">a</a> <a href="{{{{ page }}}}">b</a></p>""")
    assert "“{{ page }}” does not work" in both["link_values"][0]
    alone, _passed = look(f"""<p><a href="{href}">a</a></p>""")
    assert both["broken_link"] == alone["broken_link"]
    assert "Tomsk" not in both["broken_link"][0]
    meant = WITH_VARIABLES[href]
    assert not meant or f"Did you mean {meant}?" in both["broken_link"][0]


def test_all_links_broken_in_the_source_are_named_beside_one_broken_by_a_value(look, tomsk):
    links = "".join(f'<a href="{href}">a</a>' for href in WITH_VARIABLES)
    found, _passed = look(
        links + '<a href="{{ page }}">b</a> <a href="{{ promo }}">c</a>', variables={"promo": "ab.test/sale"}
    )
    said = " ".join(found["broken_link"])
    for href in (*WITH_VARIABLES, "ab.test/sale"):
        assert href.removeprefix("{% if city %}")[:20] in said, href
    assert "shop.test/x" not in said  # reported once for all recipients


def test_what_is_meant_never_has_the_value_of_one_recipient(look, tomsk):
    found, _passed = look('<a href="{% if city %}{{ page }}{% endif %}">b</a>')
    assert "shop.test/x" in found["broken_link"][0]
    assert "Did you mean" not in found["broken_link"][0]


def test_a_picture_is_named_as_it_is_written(look, tomsk):
    found, _passed = look('<p>x</p><img src="/img/{{ city }}.png" alt="">')
    assert "/img/{{ city }}.png" in found["broken_picture"][0]


def test_links_that_lead_nowhere_are_named_by_their_words(look):
    found, _passed = look(
        "<a href='#'>See <b>all</b></a> <a href=''><img src='https://a.test/i.png' alt='Logo'></a>"
        " <a href='#gone'>x</a> <a href='https://a.test/'>y</a>"
    )
    assert found["dead_links"] == ["Links that do not work: 3 (“See all”, “Logo”, “#gone”)."]


# --- tags of other programs


def tags(found):
    return " ".join(found.get("merge_tag", []))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("merge_mailchimp", "{{ first_name }}"),
        ("merge_mailchimp", "{{ unsubscribe_url }}"),
        ("merge_mailchimp", "{{ browser_url }}"),
        ("merge_mailchimp", "{% if first_name %}"),
        ("merge_mailchimp", "{% endif %}"),
        ("merge_mailchimp", "enter your postal address"),
        ("merge_single", "{{ first_name }}"),
        ("merge_word", "{{ first_name }}"),
        ("merge_split", "{{ first_name }}"),
    ],
)
def test_tags_of_other_programs_are_named_with_the_variable_they_stand_for(look, name, meant):
    found, passed = look(case(name))
    assert meant in tags(found)
    assert SOUND not in passed


def test_tags_are_found_in_every_part_of_an_email(look):
    found, _passed = look(
        "<p>{{ greeting }}</p><a href='*|UNSUB|*'>leave</a>",
        subject="*|FNAME|*, news",
        preheader="for {last_name}",
        text="Dear %EMAIL%",
        variables={"greeting": "Hi [FNAME]"},
    )
    for tag in ("*|FNAME|*", "{last_name}", "%EMAIL%", "*|UNSUB|*", "[FNAME]"):
        assert tag in tags(found)


@pytest.mark.parametrize(
    ("name", "likely"), [("Город", "city"), ("FNAME", "first_name"), ("contact.FIRSTNAME", "first_name")]
)
def test_a_variable_in_capitals_or_in_russian_gets_its_did_you_mean(look, name, likely):
    found, _passed = look(f"<p>{{{{ {name} }}}}</p>")
    assert f"Did you mean “{likely}”?" in found["unknown_variable"][0]
    found, _passed = look(f"<p>{{{{ {name}|default('x') }}}}</p>")
    assert f"Did you mean “{likely}”?" in found["unknown_variable"][0]


# --- the rest


def test_a_sender_without_a_name_is_reported(session, campaign, checked):
    campaign.senders[0].from_name = " "
    check = checked(campaign)
    assert check.ok
    assert "no_from_name" in {each.code for each in check.problems if each.severity is Severity.warning}


@pytest.mark.parametrize("locale", ["en", "ru"])
def test_the_ready_templates_raise_nothing(session, campaign, checked, now, locale):
    """Only a note to replace their example links."""
    for ready in ready_templates(locale):
        parts = {name: getattr(ready, name) for name in ("subject", "preheader", "html")}
        update_draft(session, campaign, {**parts, "locale": locale}, now)
        found = {each.code: each.severity for each in checked(campaign).problems if each.code != "public_url"}
        assert found == {"example_links": Severity.note}, ready.kind


def test_an_address_is_named_as_a_browser_reads_it(look):
    found, _passed = look("<p><a href='shop.test/?a=1&timestamp=2'>x</a></p>")
    assert "shop.test/?a=1&timestamp=2" in found["broken_link"][0]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("12 Long Street", "the postal address from your settings is added at the end of the email"),
        (" ", "enter your postal address in the settings: it is then added at the end of the email"),
    ],
)
def test_the_postal_address_is_promised_only_where_there_is_one(look, account, address, said):
    account.postal_address = address
    found, _passed = look("<p>*|LIST:ADDRESS|*</p>")
    assert said in tags(found)


def test_the_variable_that_subscribers_of_the_campaign_have_is_proposed(look, make, account, readers):
    make.subscriber(account, "n@example.org", (readers,), first_name="Nina")
    make.subscriber(account, "m@example.org", (readers,), first_name="Mia", fields={"name": "Mia Moon"})
    assert "{{ first_name }}" in tags(look("<p>%%name%%</p>")[0])
    assert "{{ first_name }}" in tags(look("<p>${name}</p>")[0])


def test_a_name_that_all_subscribers_of_the_campaign_have_is_proposed(look, session, account):
    for subscriber in session.query(Subscriber).filter_by(account_id=account.id):
        subscriber.fields, subscriber.first_name = {"name": "Mia Moon"}, ""
    assert "{{ name }}" in tags(look("<p>%%name%%</p>")[0])


@pytest.mark.parametrize(
    "html",
    [
        "One.\n\nTwo.<hr>\nThree",
        "One {{ first_name }}!\n\n(Two)<hr>",
        "<center>x</center>One\n \n\nTwo",
        "<p>a</p>One,\n\n«Two»",
    ],
)
def test_empty_lines_that_are_not_shown_are_reported(look, html):
    found, _passed = look(html)
    assert "plain_words" not in found
    assert "Empty lines in the text are not shown" in found["lost_lines"][0]


@pytest.mark.parametrize(
    "html",
    [
        "<p>One</p>\n\n<p>Two</p>",
        "<p>One\ntwo</p>",
        "<pre>One\n\nTwo</pre>",
        "<style>a {}\n\nb {}</style><p>x</p>",
        "<p>\n\nOne\n\n</p>",
        "<div style='white-space: pre-line'>One\n\nTwo</div>",
        "{% if first_name %}\n\n<p>One</p>\n\n{% endif %}",
    ],
)
def test_empty_lines_between_tags_are_no_finding(look, html):
    assert "lost_lines" not in look(html)[0]


@pytest.mark.parametrize(
    ("html", "told"),
    [
        ('<table width=3D"100%"><tr><td>One=\ntwo</td></tr></table>', True),
        ('<p class=3D"a">=D0=9F=D1=80=D0=B8</p>', True),
        ('<p>In it stands class=3D"a" and =\nmore</p>', False),
        ('<a href="https://a.test/?b=3D&c=1">x =\n</a>', False),
    ],
)
def test_the_encoded_source_of_an_email_is_reported(look, html, told):
    found, _passed = look(html)
    assert ("quoted_printable" in found) is told


def test_links_are_reported_only_where_addresses_became_links(look):
    assert "its web addresses into links" in look("One\n\nhttps://a.test")[0]["plain_words"][0]
    without = look("One\n\n<a href='https://a.test/'>two</a>")[0]["plain_words"][0]
    assert "links" not in without
