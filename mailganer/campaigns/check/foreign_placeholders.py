"""Check for merge tags of other programs, which recipients would see unreplaced.

Newsletters are moved between products with their tags in them: ``*|FNAME|*`` of Mailchimp, ``{$name}`` of
MailerLite, ``%%emailaddr%%`` of Salesforce, ``<%= name %>``, «Имя» of Word's mail merge. Delimiters that
occur in ordinary text (``[x]``, ``{x}``, ``%x%``, «x») count only around known variables or names in the
shape of one. Formatting inside ``{{ }}`` divides our own variables in the same way.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import islice

from ...audience.fields import STANDARD, KnownNames
from ...audience.headings import OTHER_NAMES, latin
from ...errors import _
from ...rendering.foreign_tags import Tag
from .findings import CampaignStep, Problem, Severity

CODE = "merge_tag"
MOST = 8  # different tags reported one by one
_LIKE_A_TAG = re.compile(
    r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|[A-Z][a-z]+(?:_[A-Z][a-z]+)+|[a-z][a-z0-9]*(?:_[a-z0-9]+)+|[A-Za-z]+[.:][A-Za-z_]+"
)


# --- meanings of tags

_MEANT = {
    name: variable
    for variable, names in {
        "unsubscribe_url": "unsub unsubscribe unsubscribe_url unsubscribe_link unsubscribeurl unsubscribelink"
        " unsubscriber unsubscribe_href optout opt_out opt_out_url global_unsubscribe update_profile"
        " preferences otpisatsya otpiska ssylka_otpiski subscription_unsubscribe_url unsubscription_url"
        " link_unsubscribe unsub_center_url preferencesurl preferences_url asm_preferences_url blacklist"
        " blacklisturl jumpoff jumpoffurl manage_preferences manage_preferences_link unsub_link"
        " unsubscribe_link_all"
        " manage_subscriptions_url manage_subscription_preferences_url unsubscribe_preferences change_details"
        " remove"
        " set_user_to_unsubscribed_url updatelink"
        " asm_group_unsubscribe_raw_url asm_global_unsubscribe_raw_url update_profile_url",
        "browser_url": "archive archive_url archive_page view webversion web_version weblink view_online"
        " view_in_browser browser mirror mirror_url permalink online_version webview view_url"
        " link_browser_view_default view_email_url veb_versiya viewbrowser viewbrowserurl archiveurl forward"
        " forwardurl forward_url forwardform weblink webletterurl web_letter_url viewaswebpage"
        " readonline web_view web_view_link view_as_page_url view_as_webpage webcopy forwardtoafriend"
        " web_version_url campaign_url link_to_web_version webview_url webview_text"
        " view_in_browser_url viewinbrowser forward2friend",
        "today": "date today current_date current_day datetoday",
        'today|date("y")': "year current_year currentyear date_y",
        "list.name": "list lists list_name listname mailing_list_name",
        "campaign.name": "campaign campaign_name mc_subject subject",
        "sender.name": "company list_company from_name sender_name sendername from company_name",
        "sender.email": "fromemail listowner from_email sender_email from_address sender_address_email",
        "email": "email_to subscribers_email_address emailaddr email_address emailaddress recipient_email"
        " e_mail",
        "first_name": "f_name name_first firstname1 given imya_podpischika subscriber_firstname",
        "last_name": "l_name name_last sname",
        "name": "subscriber_name recipient_name recipient to_name fullname contact",
        "phone": "phone_number mobile telefon",
        "city": "gorod town",
        "country": "strana",
        "company": "kompaniya organization organisation",
    }.items()
    for name in names.split()
}
_MAY_BE_MISSING = frozenset({"phone", "city", "country", "company"})  # fields that not every account has
_CONTACT_DETAILS = frozenset(STANDARD) | {"patronymic"}
_OWNERS = re.compile(
    r"^(?:subscriber|contact|recipient|user|person|customer|lead|member|client|profile|merge|data|attribs?"
    r"|custom|field|mc|var|event|message|system|list|current)[ _.:]+(?=.)",
    re.IGNORECASE,
)
_POSTAL = re.compile(
    r"(?:html_)?(?:list|physical|sender|business|postal|company|account|organi[sz]ation)_?(?:full_|postal_)?(?:html_)?address"
    r"(?:_html)?|sender_info(?:_singleline)?"
)
_IFS = re.compile(r"^(?:if|elseif)\s*:?\s*(?P<name>[\w.]+)$", re.IGNORECASE)
_ENDS = {"end_if": "{% endif %}", "endif": "{% endif %}", "else": "{% else %}", "end": "{% endif %}"}


def likely_code(name: str, names: KnownNames) -> str:
    """Return the template code for a tag ``name`` of another program: ``{{ first_name }}``; "" if unknown."""
    bare = _bare(name)
    word = latin(_spaced(bare))
    if word in _ENDS:
        return _ENDS[word]
    if asked := _IFS.match(bare):
        variable = likely_variable(asked["name"], names)
        return f"{{% if {variable} %}}" if variable else ""
    variable = likely_variable(name, names)
    return f"{{{{ {variable} }}}}" if variable else ""


def likely_variable(name: str, names: KnownNames) -> str:
    """Return the variable that an unknown name probably means, or ""."""
    found = names.exact(name) or known_variable(name)
    if found in _MAY_BE_MISSING and found not in names.fields:
        found = ""
    if found == "name" and not names.has_names:
        found = "first_name"
    return found or names.likely(latin(_OWNERS.sub("", _bare(name))))


def known_variable(name: str) -> str:
    """Return the variable that ``name`` means in any account, regardless of its own fields."""
    bare = _bare(name)
    last = re.split(r"[.:]", bare)[-1] if " " not in bare else bare
    for each in dict.fromkeys((bare, _OWNERS.sub("", bare), last)):
        for word in (latin(_spaced(each)), latin(each), latin(_spaced(each)).replace("_", "")):
            if word in STANDARD:
                return word
            if word in OTHER_NAMES:
                parts = OTHER_NAMES[word]
                return parts[0] if len(parts) == 1 else word
            if word in _MEANT:
                return _MEANT[word]
            if _LEAVES.search(word):
                return "unsubscribe_url"
    return ""


_LEAVES = re.compile(r"unsub_link_[a-z]{2}$|(?<![^_])unsubscribe(?:$|_)(?!.*(?:date|time|reason|count))")


def _bare(name: str) -> str:
    return name.strip(" =#/&^.{}@$")


def _spaced(name: str) -> str:
    """Separate the words of a name: ``firstName`` -> ``first_Name``."""
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name)


# --- findings


def at_placeholders(
    tags: Iterable[tuple[str, Tag]], names: KnownNames, *, postal_address: bool = False
) -> Iterator[Problem]:
    """Yield one problem per tag, with the variable it stands for. ``tags`` are given with their parts.

    ``postal_address``: the account has one, which is rendered below emails.
    """
    unique: dict[str, tuple[str, Tag]] = {}
    for part, tag in tags:
        if tag.sure or _means_something(tag, names):
            unique.setdefault(tag.written, (part, tag))
    for part, tag in islice(unique.values(), MOST):
        yield Problem(
            CODE,
            _sentence(tag, likely_code(tag.name, names), postal_address),
            Severity.warning,
            CampaignStep.email,
            _("Fix variable"),
            field=part,
        )


def _means_something(tag: Tag, names: KnownNames) -> bool:
    """Return whether a name in ordinary delimiters is a variable: known here, or in the shape of one."""
    if _LIKE_A_TAG.fullmatch(tag.name) or (tag.written.startswith("[") and tag.name in _OF_PHPLIST):
        return True
    if tag.written.startswith("%") and _POSTAL.fullmatch(latin(tag.name)):
        return True
    known = known_variable(tag.name)
    if tag.written.startswith("{") and (known == "unsubscribe_url" or tag.name == "readonline"):
        return True  # AcyMailing's links, in small letters
    if known and tag.written.startswith(("##", "--")):
        return True
    if known and not (tag.quoted and known == "birthday"):  # «День рождения» is the name of many a thing
        return known in _CONTACT_DETAILS or known in OTHER_NAMES or tag.name.isupper()
    return bool(names.exact(tag.name))


# phpList's words in capitals within brackets.
_OF_PHPLIST = frozenset(
    [
        "FORWARD",
        "FORWARDURL",
        "FORWARDFORM",
        "USERTRACK",
        "USERTRACKMARK",
        "PREFERENCESURL",
        "SUBSCRIBE",
        "SUBSCRIBEURL",
        "BLACKLIST",
        "BLACKLISTURL",
        "CONFIRMATIONURL",
        "JUMPOFF",
        "JUMPOFFURL",
        "USERID",
        "LISTS",
        "MESSAGEID",
        "SIGNATURE",
        "FOOTER",
        "CONTENT",
        "WEBSITE",
        "DOMAIN",
        "FROMEMAIL",
        "LISTOWNER",
        "VIEWBROWSER",
        "VIEWBROWSERURL",
        "ARCHIVEURL",
        "CONTACTURL",
    ]
)


_ELEMENT = re.compile(r"<[a-z]+>")


def _sentence(tag: Tag, likely: str, postal_address: bool) -> str:
    if likely and _ELEMENT.fullmatch(tag.written):
        likely = f'<a href="{likely}">'
    mapping = {"tag": " ".join(tag.written.split())[:80], "likely": likely}
    if _POSTAL.fullmatch(latin(tag.name)):
        if postal_address:
            return _(
                "“${tag}” is a tag of another service and is not replaced. Delete it: the postal "
                "address from your settings is added at the end of the email.",
                mapping=mapping,
            )
        return _(
            "“${tag}” is a tag of another service and is not replaced. Delete it and enter your "
            "postal address in the settings: it is then added at the end of the email.",
            mapping=mapping,
        )
    if tag.written == "@TrackLink":
        return _("“@TrackLink” marks tracked links in listmonk. Delete it: links are tracked without it.")
    if tag.divided:
        if likely:
            return _(
                "The variable “${tag}” is split by formatting and is not replaced. Type it again: "
                "“${likely}”.",
                mapping=mapping,
            )
        return _(
            "The variable “${tag}” is split by formatting and is not replaced. Type it again "
            "without formatting inside the braces.",
            mapping=mapping,
        )
    if likely:
        return _(
            "“${tag}” is a tag of another service and is not replaced. Did you mean “${likely}”?",
            mapping=mapping,
        )
    return _(
        "“${tag}” looks like a tag of another service. Recipients would see it unchanged. "
        "Use a variable in double braces instead.",
        mapping=mapping,
    )
