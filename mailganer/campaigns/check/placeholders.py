"""Variables in the spelling of other programs, which would reach the recipients as they stand.

Newsletters are moved from one product to another with their tags in them: ``*|FNAME|*`` of Mailchimp,
``{$name}`` of MailerLite, ``%%emailaddr%%`` of Salesforce, ``<%= name %>``, «Имя» of Word's mail merge.
Signs of ordinary text (``[x]``, ``{x}``, ``%x%``, «x») count only around what is known as a variable or looks
like one. Formatting inside ``{{ }}`` divides a variable of our own in the same way.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from itertools import islice

from ...audience.fields import STANDARD, KnownNames
from ...audience.headings import OTHER_NAMES, latin
from ...errors import _
from ...letters.markup import tokens
from ...letters.sandbox import TEXT
from ...models import Campaign
from ..values import variables
from .findings import Problem, Severity, Step

CODE = "merge_tag"
MOST = 8  # different tags named one by one


@dataclass(frozen=True)
class Tag:
    """One placeholder as it is written, and the name inside it."""

    written: str
    name: str
    sure: bool = True  # no ordinary text looks like that
    divided: bool = False  # our own braces, with formatting inside
    quoted: bool = False  # in signs that quote in Russian: only a name counts


# --- what tags look like

_NAME = r"[^\W\d_][\w .:-]{0,60}?"
_SURE = re.compile(
    r"\*\|\s*(?P<mailchimp>[^|*\n]{1,80}?)\s*\|\*"
    r"|<%[=-]?\s*(?P<erb>[^%>]{1,80}?)\s*-?%>"
    r"|%%\s*=?\s*(?P<percent>[\w.:()@ -]{1,60}?)\s*=?\s*%%"
    r"|\{\$\s*(?P<mailerlite>[^\W\d][\w.]{0,60})[^{}\n]{0,60}\}"
    r"|\$\{\s*(?P<shell>[^\W\d][\w.]{0,60})\s*\}"
    rf"|\[\[\s*(?P<brackets>{_NAME})\s*(?:\s(?:OR|mode=)[^\[\]\n]{{0,60}})?\]\]"
    rf"|\[(?P<phplist>{_NAME})%%[^\[\]\n]{{0,80}}\]"
    r"|\[(?P<link>UNSUBSCRIBE|FORWARD|PREFERENCES|SUBSCRIBE|BLACKLIST|CONTACT|VIEWBROWSER|ARCHIVE)"
    r":[^\[\]\n]{1,60}\]"
    r"|\[(?P<page>URL:[^\[\]\s]{1,200}|LOGO:\d{1,5})\]"
    rf"|\[%\s*(?P<sendgrid>{_NAME})\s*%\]"
    r"|\{!\s*(?P<salesforce>[^\W\d_][\w.:$]{0,60})\s*\}"
    r"|\{(?:contact|lead|owner)field=(?P<mautic>\w{1,60})(?:\|[^{}\n]{0,60})?\}"
)
_UNSURE = re.compile(
    rf"\[%?\s*(?P<bracket>{_NAME})\s*(?:[,|][^\[\]\n]{{0,60}})?%?\](?!\()"
    rf"|(?<![{{$%])\{{%?\s*(?P<brace>{_NAME})\s*(?:[|,][^{{}}\n]{{0,60}})?%?\}}(?!\}})"
    r"|(?<![\w%])%(?P<single>[^\W\d_][\w.:-]{0,60})%(?![\w%])"
    rf"|<<\s*(?P<word>{_NAME})\s*>>"
    rf"|«\s*(?P<quoted>{_NAME})\s*»"
    r"|(?<![\w$])\$(?P<dollar>[A-Z][A-Z0-9_]*(?:\.[A-Z][A-Z0-9_]*)?)\$(?![\w$])"
    r"|(?<![\w-])-(?P<hyphen>[a-zA-Z][a-zA-Z0-9_]{1,60})-(?![\w-])"
    r"|(?<![\w#&])##?(?P<hash>[^\W\d_]\w{0,60})##?(?![\w#])"
)
_LIKE_A_TAG = re.compile(
    r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|[A-Z][a-z]+(?:_[A-Z][a-z]+)+|[a-z][a-z0-9]*(?:_[a-z0-9]+)+|[A-Za-z]+[.:][A-Za-z_]+"
)
_OPENERS = re.compile(r"\{[{%#]")
_CLOSERS = {"{{": "}}", "{%": "%}", "{#": "#}"}
_FORMATTING = re.compile(r"</?[a-zA-Z]")
_BRACES = re.compile(r"\{\{\{?(?P<inner>[^{}]{0,400})\}?\}\}")
_EXPRESSION = re.compile(r"-?\s*[^\W\d][\w.]*\s*(?:$|[|~+*\[(=!<>?-]|(?:if|or|and|in|is|not)\b)|['\"(\d\[-]")
_KEPT = "\ue000"  # stands for code of our own


def has_foreign_tag(text: str) -> bool:
    """Return whether there is a tag in ``text`` that no ordinary text looks like."""
    return bool(_SURE.search(text))


def foreign_tags(text: str, *, html: bool = False, broken: bool = False) -> Iterator[Tag]:
    """Yield the tags in ``text``, each once. In HTML only what a recipient reads or follows is looked at.

    ``broken`` says that the template cannot be used: then our own braces are looked at, too.
    """
    source = without_code(text, whole=broken)
    found = [tag for piece in (_read(source) if html else [source]) for tag in _tags_in(piece)]
    yield from dict.fromkeys([*(_broken_code(text) if broken else ()), *found])


def code_spans(text: str, *, whole: bool = False) -> Iterator[tuple[int, int]]:
    """Yield where code of ours begins and ends; ``whole``: only what no formatting divides.

    One pass, whatever was left open: the source is a stranger's, and this runs in the web process.
    """
    at, behind = 0, {opener: _Ahead(text, re.compile(re.escape(end))) for opener, end in _CLOSERS.items()}
    formatting = _Ahead(text, _FORMATTING)
    while opener := _OPENERS.search(text, at):
        at = opener.end()
        end = behind[opener[0]].after(at)
        if end is None:
            continue
        divided = formatting.after(at) if whole and opener[0] != "{#" else None
        if divided is None or divided > end:
            at = end + 2
            yield opener.start(), at


class _Ahead:
    """Where a pattern is found next. Asked with growing places, it reads the text once."""

    def __init__(self, text: str, pattern: re.Pattern[str]) -> None:
        self._text, self._pattern = text, pattern
        self._found: int | None = -1

    def after(self, at: int) -> int | None:
        if self._found is not None and self._found < at:
            match = self._pattern.search(self._text, at)
            self._found = match.start() if match else None
        return self._found


def without_code(text: str, *, whole: bool = False) -> str:
    """Return ``text`` with one private character for each piece of code."""
    out, at = [], 0
    for start, end in code_spans(text, whole=whole):
        out += [text[at:start], _KEPT]
        at = end
    return "".join((*out, text[at:]))


def _tags_in(text: str) -> Iterator[Tag]:
    for match in _BRACES.finditer(text):
        yield Tag(match[0], match["inner"].strip(), divided=True)
    rest = _BRACES.sub(_KEPT, text)
    for match in _SURE.finditer(rest):
        yield Tag(match[0], match[match.lastgroup or 0])
    for match in _UNSURE.finditer(_SURE.sub(_KEPT, rest)):
        yield Tag(match[0], match[match.lastgroup or 0], sure=False, quoted=match.lastgroup == "quoted")


def _broken_code(text: str) -> Iterator[Tag]:
    """Braces of our own around what is no expression of ours: ``{{ First Name }}``, ``{{{name}}}``."""
    for start, end in code_spans(text, whole=True):
        written, inner = text[start:end], text[start + 2 : end - 2].strip()
        if not written.startswith("{{") or not latin(inner):
            continue
        if written.startswith("{{{") and text.startswith("}", end):
            written += "}"
        name = next((found[1] for pattern in _FOREIGN_CODE if (found := pattern.match(inner))), "")
        if name or not _EXPRESSION.match(inner):
            yield Tag(written, name or inner)
        elif (piped := _PIPED.fullmatch(inner)) and piped["filter"].strip() not in TEXT.filters:
            yield Tag(written, piped["name"])  # {{Name|dear customer}}


# Inside our braces: expressions of HubSpot, SendGrid, GetResponse, UniSender and Liquid.
_FOREIGN_CODE = (
    re.compile(r"personalization_token\(\s*[\"']([\w.]+)"),
    re.compile(r"insert\s+(\w+)"),
    re.compile(r"[A-Z]+\s+`(\w+)`"),
    re.compile(r"(_?[^\W\d_]\w*)\?"),
    re.compile(r"(_[^\W\d_]\w*)$"),
    re.compile(r"([^\W\d][\w.]*)\s*\|\s*\w+\s*:"),
)
_PIPED = re.compile(r"(?P<name>[^\W\d][\w.]*)\s*\|(?P<filter>[^|()'\"{}]*)")


# --- what they mean

_MEANT = {
    name: variable
    for variable, names in {
        "unsubscribe_url": "unsub unsubscribe unsubscribe_url unsubscribe_link unsubscribeurl unsubscribelink"
        " unsubscriber unsubscribe_href optout opt_out opt_out_url global_unsubscribe update_profile"
        " preferences otpisatsya otpiska ssylka_otpiski subscription_unsubscribe_url unsubscription_url"
        " link_unsubscribe unsub_center_url preferencesurl preferences_url asm_preferences_url blacklist"
        " blacklisturl jumpoff jumpoffurl",
        "browser_url": "archive archive_url archive_page view webversion web_version weblink view_online"
        " view_in_browser browser mirror mirror_url permalink online_version webview view_url"
        " link_browser_view_default view_email_url veb_versiya viewbrowser viewbrowserurl archiveurl forward"
        " forwardurl forward_url forwardform weblink webletterurl web_letter_url viewaswebpage",
        "today": "date today current_date current_day datetoday",
        'today|date("y")': "year current_year currentyear date_y",
        "list.name": "list lists list_name listname mailing_list_name",
        "campaign.name": "campaign campaign_name mc_subject subject",
        "sender.name": "company list_company from_name sender_name sendername from company_name",
        "sender.email": "fromemail listowner from_email sender_email from_address sender_address_email",
        "email": "emailaddr email_address emailaddress recipient_email e_mail",
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
_MAY_BE_MISSING = frozenset({"phone", "city", "country", "company"})  # fields that not everybody has
_OF_PEOPLE = frozenset(STANDARD) | {"patronymic"}
_OWNERS = re.compile(
    r"^(?:subscriber|contact|recipient|user|person|customer|lead|member|client|profile|merge|data|attribs?"
    r"|custom|field|mc|var|event|message|system|list|current)[ _.:]+(?=.)",
    re.IGNORECASE,
)
_POSTAL = re.compile(
    r"(?:html_)?(?:list|physical|sender|business|postal|company|account)_?(?:html_)?address(?:_html)?"
)
_IFS = re.compile(r"^(?:if|elseif)\s*:?\s*(?P<name>[\w.]+)$", re.IGNORECASE)
_ENDS = {"end_if": "{% endif %}", "endif": "{% endif %}", "else": "{% else %}", "end": "{% endif %}"}


def likely_code(name: str, names: KnownNames) -> str:
    """Return what the tag ``name`` of another program is here: ``{{ first_name }}``; nothing if unknown."""
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
    """Return the variable that is meant by a name that nobody has."""
    found = names.exact(name) or known_variable(name)
    if found in _MAY_BE_MISSING and found not in names.fields:
        found = ""
    if found == "name" and not names.has_names:
        found = "first_name"
    return found or names.likely(latin(_OWNERS.sub("", _bare(name))))


def known_variable(name: str) -> str:
    """Return the variable that ``name`` is for everybody, without a look at the account's own fields."""
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


_LEAVES = re.compile(r"(?<![^_])unsubscribe(?:$|_)(?!.*(?:date|time|reason|count))")


def _bare(name: str) -> str:
    return name.strip(" =#/&^.{}@$")


def _spaced(name: str) -> str:
    """``firstName`` -> ``first_Name``."""
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name)


# --- the findings


def at_placeholders(
    campaign: Campaign, names: KnownNames, *, broken: bool, postal_address: bool = False
) -> Iterator[Problem]:
    """One finding for each tag, with the variable it stands for.

    ``broken``: the email cannot be compiled. ``postal_address``: the account has one, printed below emails.
    """
    unique: dict[str, tuple[str, Tag]] = {}
    for part, text in _parts(campaign):
        for tag in foreign_tags(text, html=part == "html", broken=broken):
            if tag.sure or _means_something(tag, names):
                unique.setdefault(tag.written, (part, tag))
    for part, tag in islice(unique.values(), MOST):
        yield Problem(
            CODE,
            _sentence(tag, likely_code(tag.name, names), postal_address),
            Severity.warning,
            Step.letter,
            _("Correct the variable"),
            field=part,
        )


def _parts(campaign: Campaign) -> Iterator[tuple[str, str]]:
    yield from ((part, getattr(campaign, part)) for part in ("subject", "preheader", "html", "text"))
    yield from ((f"variables.{each.name}", each.value) for each in variables(campaign.variables))


def _means_something(tag: Tag, names: KnownNames) -> bool:
    """Whether a name in ordinary signs is a variable: known here, or in the shape of one."""
    if _LIKE_A_TAG.fullmatch(tag.name) or (tag.written.startswith("[") and tag.name in _OF_PHPLIST):
        return True
    known = known_variable(tag.name)
    if known and not (tag.quoted and known == "birthday"):  # «День рождения» is the name of many a thing
        return known in _OF_PEOPLE or known in OTHER_NAMES or tag.name.isupper()
    return bool(names.exact(tag.name))


# Words in capitals that stand in brackets in phpList.
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


def _sentence(tag: Tag, likely: str, postal_address: bool) -> str:
    mapping = {"tag": " ".join(tag.written.split())[:80], "likely": likely}
    if _POSTAL.fullmatch(latin(tag.name)):
        if postal_address:
            return _(
                "“${tag}” is a tag of another program and is not filled. Delete it: the postal address from"
                " your settings is added below the email.",
                mapping=mapping,
            )
        return _(
            "“${tag}” is a tag of another program and is not filled. Delete it, and enter your postal address"
            " in the settings: it is then added below the email.",
            mapping=mapping,
        )
    if tag.divided:
        if likely:
            return _(
                "Formatting divides the variable “${tag}”, so that it is not filled. Write it anew:"
                " “${likely}”.",
                mapping=mapping,
            )
        return _(
            "Formatting divides the variable “${tag}”, so that it is not filled. Write it anew without"
            " formatting inside the braces.",
            mapping=mapping,
        )
    if likely:
        return _(
            "“${tag}” is a tag of another program and is not filled. Did you mean “${likely}”?",
            mapping=mapping,
        )
    return _(
        "“${tag}” looks like a tag of another program: recipients read it as it stands. Use a variable in"
        " double braces instead.",
        mapping=mapping,
    )


# --- reading HTML

_SILENT = frozenset({"style", "script", "title"})
_WORD = re.compile(r"<<([\w .:-]{1,80})>>")
_LINES = re.compile(r"p|div|t[dhr]|table|li|[uo]l|h[1-6r]|br|blockquote|center|section|article")  # end a text
_UNREAD = frozenset({"style", "class", "id", "xmlns", "content", "lang", "fillcolor", "arcsize", "bgcolor"})


def _read(source: str) -> list[str]:
    """Return the visible text, divided by blocks and not by formatting, and then the attributes."""
    text: list[str] = []
    attributes: list[str] = []
    # ``<<First Name>>`` would be a tag, so it is written as text.
    source = _WORD.sub(r"&lt;&lt;\1&gt;&gt;", source)
    for token in tokens(source):
        words = source[token.start : token.end]
        if token.kind in ("open", "close") and _LINES.fullmatch(token.name):
            text.append("\n")
        if token.kind == "open":
            attributes += [each.value for each in token.attributes if each.value and each.name not in _UNREAD]
        elif token.kind in ("text", "lost"):
            text.append(unescape(words))
        elif token.kind == "raw" and token.name not in _SILENT:
            text.append(words)
    return ["".join(text), *attributes]
