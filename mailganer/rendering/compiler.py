"""Compilation of the user's source into a ``CompiledEmail``: all work that can be done once.

Runs in the limited process (``render_process``), because sources are untrusted. The source keeps its line
numbers, so that an error while rendering names the line that the user sees.
"""

import html
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import css_inline
from jinja2 import meta, nodes

from ..errors import EmailError, _
from . import html_to_text, markup, render_budget, sandbox, text_to_html, unformatted_html, web_addresses
from .copied_links import CopiedLinks
from .engine import Engine, quick_run, recipient_links, render_link
from .markup import Edit, Token
from .mjml import is_mjml, to_html
from .placeholders import (
    BRACE,
    FOOTER,
    MASK,
    OURS,
    PIXEL,
    PLAIN_BRACE,
    MaskedSource,
    decode_code,
    link_slot,
    mask,
)
from .render_budget import RenderBudget, RenderTooLarge
from .types import OWN_ADDRESSES, PARAGRAPHS, CompiledEmail, Source

# We provide these for every recipient; a link that uses one of them is not tracked.
OWN_LINKS = frozenset(("unsubscribe_url", "browser_url"))


def prepare(
    source: Source,
    campaign_variables: Mapping[str, str],
    overriding: Collection[str] = (),
    *,
    ours: str = "",
    targets: Mapping[str, str] = {},
) -> CompiledEmail:
    """Compile a source. Raises ``EmailError`` with field and line for anything that cannot be used.

    ``ours`` and ``targets`` are as for ``CopiedLinks``.
    """
    copied = CopiedLinks(ours, targets)
    source = copied.in_source(_normalized(source))
    trees = _checked(source)
    fills = _fills(copied.in_values(campaign_variables), overriding)
    names = _names_in_all(trees)
    if not (source.html.strip() or source.text.strip()):
        raise EmailError(_("The email is empty."), "html" if not source.text else "text")
    typed = not source.html.strip()
    if is_mjml(source.html):
        source = replace(source, html=to_html(source.html))
    elif typed:
        source = replace(source, html=text_to_html.html_of(source.text))
    plain = not typed and unformatted_html.is_plain(source.html)
    if plain:
        source = replace(source, html=unformatted_html.html_of(source.html))
    prepared = _Prepared(source, trees)
    email = CompiledEmail(
        subject=source.subject,
        preheader=source.preheader,
        html=prepared.html,
        text=prepared.text,
        links=tuple(prepared.links),
        variables=names | _names_of_fills(fills, names),
        fills=fills,
        typed=typed,
        adjusted=tuple(code for code, done in ((PARAGRAPHS, plain), (OWN_ADDRESSES, copied.found)) if done),
    )
    _test_render(email)
    return email


def names(source: Source) -> frozenset[str]:
    """Return the variables that a source names, dotted for ``campaign.name`` and the like."""
    return _names_in_all(_checked(_normalized(source)))


def _names_in_all(trees: Mapping[str, nodes.Template]) -> frozenset[str]:
    found = frozenset[str]().union(*(names_in(tree) for tree in trees.values()))
    if len(found) > render_budget.VARIABLES:
        raise RenderTooLarge(
            _(
                "An email can use at most ${most} different variables.",
                mapping={"most": render_budget.VARIABLES},
            )
        )
    return found


def _normalized(source: Source) -> Source:
    def normalized(text: str) -> str:
        return OURS.sub("", text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")).removeprefix(
            "\ufeff"
        )

    return Source(
        subject=normalized(source.subject),
        preheader=normalized(source.preheader),
        html=_without_braces_in_styles(decode_code(normalized(source.html))),
        text=normalized(source.text),
    )


_STYLE = re.compile(r"<style\b", re.IGNORECASE)
_STYLE_END = re.compile(r"</style", re.IGNORECASE)


def _without_braces_in_styles(source: str) -> str:
    """Return the source with ``{#`` in styles masked, as in ``@media print{#menu{...}}``."""
    out, at = [], 0
    while style := _STYLE.search(source, at):
        content = source.find(">", style.end())
        end = _STYLE_END.search(source, content) if content >= 0 else None
        if end is None:
            break
        written = source[style.start() : end.end()]
        out += [
            source[at : style.start()],
            written if "#}" in written else written.replace("{#", f"{BRACE}#"),
        ]
        at = end.end()
    return "".join((*out, source[at:]))


def _checked(source: Source) -> dict[str, nodes.Template]:
    trees = {}
    for name, text in vars(source).items():
        environment = sandbox.HTML if name == "html" else sandbox.TEXT
        trees[name] = sandbox.check(text, name, environment)
        # Compiling finds errors that parsing does not.
        sandbox.CompiledTemplate(text, name, environment)
    return trees


def names_in(tree: nodes.Template) -> frozenset[str]:
    """Return the free names of a syntax tree; ``a.b`` for an attribute, in that case without ``a`` itself."""
    free = meta.find_undeclared_variables(tree)
    called = {id(call.node) for call in tree.find_all(nodes.Call)}
    dotted, inner = set(), set()
    found: list[Any] = [*tree.find_all((nodes.Getattr, nodes.Getitem))]
    for node in found:
        owner = node.node
        key = node.attr if isinstance(node, nodes.Getattr) else getattr(node.arg, "value", None)
        # {{ first_name.upper() }} and {{ birthday.year }} name no more than their owner.
        if id(node) in called or key in ("year", "month", "day") or not isinstance(key, str):
            continue
        if isinstance(owner, nodes.Name) and owner.name in free:
            inner.add(id(owner))
            dotted.add(f"{owner.name}.{key}")
    plain = {name.name for name in tree.find_all(nodes.Name) if name.name in free and id(name) not in inner}
    return frozenset(dotted | plain)


# --- the campaign's own variables


def _fills(given: Mapping[str, str], overriding: Collection[str]) -> tuple[tuple[str, str, bool], ...]:
    sources = {name: OURS.sub("", str(value)) for name, value in given.items()}
    uses = {}
    for name, value in sources.items():
        try:
            tree = sandbox.check(value, "variables", sandbox.TEXT)
            sandbox.CompiledTemplate(value, "variables", sandbox.TEXT)
        except EmailError as error:
            error.field = f"variables.{name}"
            raise
        uses[name] = {used.split(".")[0] for used in names_in(tree)} & set(sources) - {name}
    return tuple((name, sources[name], name in overriding) for name in _dependency_order(uses))


def _dependency_order(uses: Mapping[str, set[str]]) -> list[str]:
    """Return the names, each after those it uses. Raises ``EmailError`` for a circular reference."""
    ordered: list[str] = []
    waiting = dict(uses)
    while waiting:
        ready = [name for name, used in waiting.items() if used <= set(ordered)]
        if not ready:
            raise EmailError(
                _(
                    "These variables refer to each other in a circle: ${names}.",
                    mapping={"names": ", ".join(sorted(waiting))},
                ),
                "variables",
            )
        ordered += ready
        for name in ready:
            del waiting[name]
    return ordered


def _names_of_fills(fills: Iterable[tuple[str, str, bool]], wanted: frozenset[str]) -> frozenset[str]:
    """Return the names used by the campaign variables that the email uses."""
    found: set[str] = set()
    needed = set(wanted)
    for name, value, _wins in reversed(tuple(fills)):
        if name in needed:
            used = names_in(sandbox.TEXT.parse(value))
            needed |= used
            found |= used
    return frozenset(found)


# --- HTML and text


@dataclass
class _Prepared:
    """Compilation of one email: its links in the order of their numbers, its HTML and its text."""

    source: Source
    trees: Mapping[str, nodes.Template]
    links: list[str] = field(default_factory=list)
    html: str = ""
    text: str = ""

    def __post_init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._local = {
            name.name
            for tree in self.trees.values()
            for name in tree.find_all(nodes.Name)
            if name.ctx in ("store", "param")
        } | {"loop", "caller"}
        self.html, spoken = self._html()
        self.text = self._own_text() if self.source.text.strip() else spoken
        self.text = self.text.rstrip() + "\n" + FOOTER

    def _html(self) -> tuple[str, str]:
        masked = mask(_whole_document(self.source.html))
        tokens = tuple(markup.tokens(masked.text))
        edits: list[Edit] = []
        spoken: dict[int, html_to_text.Target] = {}
        for token in _all_tags(masked.text, tokens):
            href = token.attribute("href")
            if href is None or token.name in ("link", "base"):
                continue
            address = masked.unmask(web_addresses.as_read(href.value))
            number = self._number(address)
            if number:
                written = masked.text[href.value_start : href.value_end]
                edits.append(Edit(href.value_start, href.value_end, link_slot(number, written)))
            if token.name in ("a", "area") and not address.startswith(("#", "javascript:")):
                shown = masked.unmask(web_addresses.without_scheme(web_addresses.as_read(href.value)))
                spoken[token.start] = html_to_text.Target(link_slot(number) if number else shown, shown)
        styles = _inlined(masked, tokens)
        text = html_to_text.text_of(masked, tokens, spoken, styles)
        edits += _styling(masked, tokens, styles)
        edits += _additions(masked, tokens, self.source.preheader)
        return masked.unmask(markup.apply(masked.text, edits)).replace(BRACE, PLAIN_BRACE), text

    def _own_text(self) -> str:
        masked = mask(self.source.text)
        edits = []
        for start, end in text_to_html.web_addresses(masked):
            number = self._number(masked.unmask(masked.text[start:end]))
            if number:
                edits.append(Edit(start, end, link_slot(number)))
        return masked.unmask(markup.apply(masked.text, edits))

    def _number(self, address: str) -> int | None:
        """Return the number of a counted link; None for a link that stays as written."""
        if not (web_addresses.is_web(address) or address.startswith(("{{", "{%"))):
            return None
        used = {name.split(".")[0] for name in names_in(sandbox.TEXT.parse(address))}
        # What a loop or a {% set %} defined no longer exists when the recipient clicks.
        if used & (OWN_LINKS | self._local):
            return None
        number = self._numbers.setdefault(address, len(self.links) + 1)
        if number > len(self.links):
            self.links.append(address)
        return number


def _all_tags(text: str, tokens: Iterable[Token]) -> Iterable[Token]:
    for token in tokens:
        if token.kind == "open":
            yield token
        elif token.kind == "comment":
            yield from (tag for tag in markup.outlook_tags(text, token) if tag.kind == "open")


def _whole_document(source: str) -> str:
    """Wrap a fragment in the elements that every email app needs, without new lines: lines are counted."""
    if re.search(r"<(?:html|body|!doctype)\b", source, re.IGNORECASE):
        return source
    return (
        '<!DOCTYPE html><html><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"></head><body>'
        + source
        + "</body></html>"
    )


# --- styles


def _inlined(masked: MaskedSource, tokens: Iterable[Token]) -> Mapping[int, str]:
    """Return the start of each tag -> its style with the rules of ``<style>`` applied.

    Some email apps, among them Gmail's apps, read inline styles only. Each tag gets a number, the library
    inlines a copy, and only the styles are taken from it: the source itself never goes through an HTML
    parser, which would move and close what templates leave open.
    """
    source = masked.text
    if not re.search(r"<style\b", source, re.IGNORECASE):
        return {}
    tags = [token for token in tokens if token.kind == "open" and token.name not in _UNSTYLED]
    ends = map(_end_of_name, tags)
    numbered = markup.apply(source, [Edit(end, end, f' data-tag="{n}"') for n, end in enumerate(ends)])
    try:
        inliner = css_inline.CSSInliner(keep_style_tags=True, load_remote_stylesheets=False)
        styles = _styles(inliner.inline(numbered))
    except (css_inline.InlineError, ValueError) as error:
        raise EmailError(
            _("The styles cannot be parsed: ${reason}", mapping={"reason": str(error)[:200]}), "html"
        ) from None
    return {tag.start: style for number, tag in enumerate(tags) if (style := styles.get(str(number)))}


def _styling(masked: MaskedSource, tokens: Iterable[Token], styles: Mapping[int, str]) -> Iterator[Edit]:
    for tag in tokens:
        style = styles.get(tag.start) if tag.kind == "open" else None
        # Keep a style that no rule adds to exactly as written.
        if style and style != tag.value("style") and _keeps_code(masked, tag, style):
            yield _styled(tag, style)


_UNSTYLED = frozenset(("html", "head", "meta", "title", "style", "script", "link", "base"))


def _end_of_name(tag: Token) -> int:
    return tag.start + 1 + len(tag.name)


def _styled(tag: Token, style: str) -> Edit:
    written = f'style="{html.escape(style)}"'
    own = tag.attribute("style")
    end = _end_of_name(tag)
    return Edit(own.start, own.end, written) if own else Edit(end, end, " " + written)


def _keeps_code(masked: MaskedSource, tag: Token, style: str) -> bool:
    """Return whether the template code in the tag's own style is intact after inlining."""
    own = list(MASK.finditer(tag.value("style")))
    return not any(masked.is_statement(found) or found[0] not in style for found in own)


def _styles(inlined: str) -> dict[str, str]:
    """Return the number of each tag -> its style. A parser makes several tags of some that are left open."""
    found: dict[str, str] = {}
    for token in markup.tokens(inlined):
        if token.kind == "open" and (number := token.value("data-tag")) and (style := token.value("style")):
            found.setdefault(number, style)
    return found


# --- additions

# Invisible characters after the preheader keep inboxes from showing the first words of the email behind it.
_FILLER = "&#847;&zwnj;&nbsp;" * 60


def _additions(masked: MaskedSource, tokens: Iterable[Token], preheader: str) -> list[Edit]:
    start, end = _body(masked.text, tokens)
    edits = [Edit(end, end, FOOTER + PIXEL)]
    if preheader.strip():
        hidden = mask(preheader)
        words = hidden.unmask(hidden.text.replace("\n", " "), html.escape)
        block = (
            '<div style="display:none;font-size:1px;line-height:1px;max-height:0;max-width:0;opacity:0;'
            f'overflow:hidden;mso-hide:all">{words}{_FILLER}</div>'
        )
        edits.append(Edit(start, start, block))
    return edits


def _body(source: str, tokens: Iterable[Token]) -> tuple[int, int]:
    """Return the positions where the body's content begins and ends. Tags in comments do not count."""
    start, end, after_head, html_end = None, None, 0, None
    for token in tokens:
        if token.kind == "open" and token.name == "body" and start is None:
            start = token.end
        elif token.kind == "close" and token.name == "body":
            end = token.start
        elif (token.kind == "close" and token.name == "html") or (token.kind == "lost" and html_end is None):
            html_end = token.start
        elif (token.kind == "close" and token.name == "head") or (
            token.kind == "open" and token.name == "html"
        ):
            after_head = max(after_head, token.end)
    start = start if start is not None else after_head or _after_doctype(source)
    end = end if end is not None else html_end if html_end is not None else len(source)
    return start, max(start, end)


def _after_doctype(source: str) -> int:
    doctype = re.match(r"\s*<!doctype[^>]*>", source, re.IGNORECASE)
    return doctype.end() if doctype else 0


# --- test rendering


def _test_render(email: CompiledEmail) -> None:
    """Render once without recipient values, so that a template over the limits fails before sending."""
    Engine(email).render(recipient_links(None), RenderBudget())
    for address in email.links:
        if "{%" in address:
            _test_link(email, address)


def _test_link(email: CompiledEmail, address: str) -> None:
    """Refuse a link that is slow to render: it is rendered again for each click."""
    try:
        render_link(email, address, recipient_links(None), quick_run())
    except RenderTooLarge:
        raise EmailError(
            _(
                "The address of a link takes too long to compute. Simplify it: ${address}",
                mapping={"address": address[:80]},
            ),
            "html",
        ) from None
    except EmailError:  # A recipient's values may make it a valid address.
        return
