"""Compilation of the user's source into a ``CompiledEmail``: all work that can be done once.

Runs in the limited process (``render_process``), because sources are untrusted. The source keeps its line
numbers, so that an error while rendering names the line that the user sees.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from jinja2 import nodes

from ..errors import EmailError, _
from . import html_to_text, markup, render_budget, sandbox, text_to_html, unformatted_html, web_addresses
from .campaign_values import names_in, names_of_values, ordered_values
from .copied_links import CopiedLinks
from .css_inlining import inlined_styles, style_edits
from .document_frame import additions, whole_document
from .engine import Engine, quick_run, recipient_links, render_link
from .markup import Edit, Token
from .mjml import is_mjml, to_html
from .placeholders import BRACE, FOOTER, OURS, PLAIN_BRACE, decode_code, link_slot, mask
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
    fills = ordered_values(copied.in_values(campaign_variables), overriding)
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
        variables=names | names_of_values(fills, names),
        fills=fills,
        typed=typed,
        own_text=not typed and bool(source.text.strip()),
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
        masked = mask(whole_document(self.source.html))
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
        styles = inlined_styles(masked, tokens)
        text = html_to_text.text_of(masked, tokens, spoken, styles)
        edits += style_edits(masked, tokens, styles)
        edits += additions(masked, tokens, self.source.preheader)
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
