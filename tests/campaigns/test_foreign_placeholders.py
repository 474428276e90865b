"""Tags of other products, in all their spellings."""

from types import SimpleNamespace

import pytest

from mailganer.campaigns.check.foreign_placeholders import at_placeholders
from mailganer.rendering.email_analysis import analyse

NAMES = SimpleNamespace(
    fields=["email", "first_name", "last_name", "city"],
    exact=lambda name: {"city": "city", "CITY": "city"}.get(name, ""),
    likely=lambda name: "",
    has_names=False,
)


def found_in(html, *, broken=False):
    """Return the messages about an email; ``broken``: it cannot be compiled."""
    tags = analyse({"html": html}, None if broken else html, "", broken=broken).tags
    return [problem.message for problem in at_placeholders(tags, NAMES)]


@pytest.mark.parametrize(
    ("tag", "likely"),
    [
        ("*|FNAME|*", "first_name"),
        ("{unsubscribe}", "unsubscribe_url"),
        ("{readonline}", "browser_url"),
        ("{subtag:name}", "first_name"),
        ("@@first_name@@", "first_name"),
        ("$$firstname$$", "first_name"),
        ("~first_name~", "first_name"),
        ("((first_name))", "first_name"),
        ("|*FNAME*|", "first_name"),
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
        ("{$name}", "first_name"),
        ("%%name%%", "first_name"),
        ("${name}", "first_name"),
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
        ("[FORWARD]", "browser_url"),
        ("[FORWARDURL]", "browser_url"),
        ("[UNSUBSCRIBE]", "unsubscribe_url"),
        ("[PREFERENCES]", "unsubscribe_url"),
        ("[PREFERENCESURL]", "unsubscribe_url"),
        ("[JUMPOFFURL]", "unsubscribe_url"),
        ("[VIEWBROWSERURL]", "browser_url"),
        ("[FROMEMAIL]", "sender.email"),
        ("[UNSUBSCRIBE:Leave]", "unsubscribe_url"),
        ("[FIRST NAME%%friend]", "first_name"),
        ("[FOR<b>WARD</b>]", "browser_url"),
        ("-first_name-", "first_name"),
        ("-name-", "first_name"),
        ("<%asm_group_unsubscribe_url%>", "unsubscribe_url"),
        ("&lt;%asm_<i>preferences</i>_url%&gt;", "unsubscribe_url"),
        ("[%first_name%]", "first_name"),
        ("[Sender_Name]", "sender.name"),
        ("%mailing_list_unsubscribe_url%", "unsubscribe_url"),
        ("%reci<b>pient.name</b>%", "first_name"),
        ('[[FIRSTNAME OR "Friend"]]', "first_name"),
        ('[[name mode="fl"]]', "first_name"),
        ("[[viewAsWebpage]]", "browser_url"),
        ("$SUBSCRIBER.FIRSTNAME$", "first_name"),
        ("{!Contact.FirstName}", "first_name"),
        ("{$for<b>ward</b>}", "browser_url"),
        ("{{CONTACT `subscriber_first_name`}}", "first_name"),
        ('{{insert name "default=friend"}}', "first_name"),
        ("{{ personalization_token('contact.firstname', 'friend') }}", "first_name"),
        ("{{Name?dear friend}}", "first_name"),
        ("{{Name|dear friend}}", "first_name"),
        ("{{_UnsubscribeUrl}}", "unsubscribe_url"),
        ("{{ contact.FIRSTNAME | default : 'friend' }}", "first_name"),
    ],
)
def test_every_spelling_names_the_likely_variable(tag, likely):
    (found,) = found_in(f"<p>Dear {tag}, the news.</p>", broken="{{" in tag)
    assert found.mapping["likely"] == f"{{{{ {likely} }}}}"


TAGS_OF_PRODUCTS = {
    "Klaviyo": {
        "{% unsubscribe %}": "unsubscribe_url",
        "{% unsubscribe 'Leave' %}": "unsubscribe_url",
        "{% unsubscribe &#39;Leave&#39; %}": "unsubscribe_url",
        "{%unsubscribe_link%}": "unsubscribe_url",
        "{% manage_preferences %}": "unsubscribe_url",
        "{% web_view %}": "browser_url",
        "{% web_view_link %}": "browser_url",
        "{{ first_name|default:'there' }}": "first_name",
    },
    "Mailchimp": {"*|UNSUB|*": "unsubscribe_url", "*|ARCHIVE|*": "browser_url", "*|EMAIL|*": "email"},
    "Brevo": {"{{ contact.FIRSTNAME | default : 'x' }}": "first_name"},
    "ActiveCampaign": {
        "%UNSUBSCRIBELINK%": "unsubscribe_url",
        "%WEBCOPY%": "browser_url",
        "%UPDATELINK%": "unsubscribe_url",
        "%FORWARD2FRIEND%": "browser_url",
    },
    "Mailjet": {
        "[[EMAIL_TO]]": "email",
        "[[UNSUB_LINK_EN]]": "unsubscribe_url",
        "[[PERMALINK]]": "browser_url",
        '[[data:firstname:"x"]]': "first_name",
        '{{var:firstname:"x"}}': "first_name",
    },
    "SendGrid": {"<%asm_global_unsubscribe_raw_url%>": "unsubscribe_url"},
    "MailerLite": {"{$unsubscribe}": "unsubscribe_url", "{$email}": "email"},
    "GetResponse": {"[[firstname]]": "first_name", "[[remove]]": "unsubscribe_url"},
    "MailWizz": {"[UNSUBSCRIBE_URL]": "unsubscribe_url", "[WEB_VERSION_URL]": "browser_url"},
    "NewsMAN": {"##NEWSMAN:view_online##": "browser_url", "##firstname##": "first_name"},
    "SocketLabs": {"##Unsubscribe##": "unsubscribe_url"},
    "GreenArrow": {"%%subscribers_email_address%%": "email", "%%link_to_web_version%%": "browser_url"},
    "Autopilot": {"--unsubscribe--": "unsubscribe_url"},
    "Customer.io": {"{% unsubscribe_url %}": "unsubscribe_url", "{% view_in_browser_url %}": "browser_url"},
    "Mautic": {"{webview_url}": "browser_url", "{unsubscribe_url}": "unsubscribe_url"},
    "Zoho": {"$[LI:VIEWINBROWSER]$": "browser_url", "$[UN:Unsubscribe]$": "unsubscribe_url"},
}


@pytest.mark.parametrize(
    ("tag", "likely"), [each for tags in TAGS_OF_PRODUCTS.values() for each in tags.items()]
)
def test_tags_of_other_products_name_the_likely_variable(tag, likely):
    (found,) = found_in(f"<p>Dear {tag}, the news.</p>", broken="{{" in tag or "{%" in tag)
    assert found.mapping["likely"] == f"{{{{ {likely} }}}}"


@pytest.mark.parametrize(
    ("source", "tag", "likely"),
    [
        ("<unsubscribe style='color:red'>Leave</unsubscribe>", "<unsubscribe>", "unsubscribe_url"),
        ("<webversion>Look</webversion>", "<webversion>", "browser_url"),
        ("<preferences>Change</preferences>", "<preferences>", "unsubscribe_url"),
        ("<forwardtoafriend>Forward</forwardtoafriend>", "<forwardtoafriend>", "browser_url"),
    ],
)
def test_elements_that_are_links_in_campaign_monitor_and_sendy_are_named(source, tag, likely):
    (found,) = found_in(f"<p>x {source}</p>")
    assert found.mapping == {"tag": tag, "likely": f'<a href="{{{{ {likely} }}}}">'}


@pytest.mark.parametrize("word", ["unsubscribe", "Unsubscribe", "webversion", "Weblink"])
def test_a_word_in_brackets_is_a_tag_where_an_address_is_expected(word):
    (found,) = found_in(f"<p><a href='[{word}]'>x</a></p>")
    assert found.mapping["likely"] in ("{{ unsubscribe_url }}", "{{ browser_url }}")
    assert found_in(f"<p><a href='https://a.test/'>[{word}]</a></p>") == []


def test_statements_of_ours_are_no_tags():
    source = "{% if city %}{%- for each in [1] -%}{% set x = 1 %}{% endfor %}{% else %}{% endif %}{% if %}"
    assert found_in(source, broken=True) == []


@pytest.mark.parametrize(
    "tag", ["[USERTRACK]", "[SUBSCRIBEURL]", "[LOGO:1]", "[URL:https://a.test/x]", "<% body %>"]
)
def test_a_tag_without_a_variable_is_named_as_well(tag):
    (found,) = found_in(f"<p>{tag}</p>")
    assert (found.mapping["tag"], found.mapping["likely"]) == (tag, "")


def test_the_mark_of_counted_links_in_listmonk_is_to_be_deleted():
    for html in ("<a href='https://a.test/x@TrackLink'>x</a>", "<p>https://a.test/@TrackLink</p>"):
        assert [str(each) for each in found_in(html)] == [
            "“@TrackLink” marks tracked links in listmonk. Delete it: links are tracked without it."
        ]


def test_three_braces_are_shown_whole():
    (found,) = found_in("<p>Dear {{{first_name}}},</p>", broken=True)
    assert found.mapping["tag"] == "{{{first_name}}}"


@pytest.mark.parametrize(
    "text",
    [
        "Forward this [forward], [Forward], [note: see below], a -quite- long and so-called-best offer",
        "$5 and $10, $A$ is LaTeX, $HOME/bin, std::vector::size, 10 - 5 - 3, A-B-C",
        "[A%B], [50%], [%], x[i], [ ], [URL], {!}, !{x}, -b-",
        "50% off and 20% more",
        "See [1], [a] and [note], [unsubscribe], {view}, {forward}",
        "~5 km, ~about~ 7~8, f((x)), ((see below)), $$E$$, a@@b.c, |*bold*|, @Track, user@TrackLinks",
        "{see below} {x}",
        "«Война и мир», акция «День рождения»",
        "a &lt;&lt; b &gt;&gt; c",
        "#news and #offers, #1",
        "100%",
        "a --long-- dash, --help, ##Title##, ## Heading ##, <!-- note -->, {%",
        "<i>unsubscribe</i> [unsubscribe] (preferences)",
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
