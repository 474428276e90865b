"""Rendering of one compiled email: slots filled, campaign variables evaluated, every part rendered."""

import html
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from time import monotonic

from ..errors import EmailError, _
from . import placeholders, render_budget, sandbox, web_addresses
from .render_budget import RenderBudget, RenderTooLarge
from .sandbox import CompiledTemplate
from .types import ENGLISH_FOOTER, CompiledEmail, FooterTexts, Rendered, Urls


class Engine:
    """Everything of one email that does not depend on its recipient."""

    def __init__(
        self,
        email: CompiledEmail,
        *,
        footer: FooterTexts = ENGLISH_FOOTER,
        tracked: bool = True,
        opens: bool = True,
        postal_address: str = "",
    ) -> None:
        self.email = email
        self.values = Values(email.fills, email.variables)
        expand = _Expand(email, footer, tracked, opens, postal_address)
        self.subject = CompiledTemplate(email.subject, "subject", sandbox.TEXT)
        self.preheader = CompiledTemplate(email.preheader, "preheader", sandbox.TEXT)
        written = "text" if email.typed else "html"
        self.html = CompiledTemplate(expand.html(email.html), written, sandbox.HTML) if email.html else None
        self.text = CompiledTemplate(expand.text(email.text), "text", sandbox.TEXT)

    def render(self, values: Mapping[str, object], run: RenderBudget) -> Rendered:
        """Render all parts. ``values`` are the recipient's values and links; ``Values.of`` completes them."""
        known = self.values.of(values, run)
        return Rendered(
            subject=one_line(self.subject.render(known, run)),
            preheader=one_line(self.preheader.render(known, run)),
            html=self.html.render(known, run) if self.html else "",
            text=self.text.render(known, run),
        )


def one_line(text: str) -> str:
    return " ".join(text.split())


class Values:
    """Values of one rendering: the recipient's own combined with the campaign's variables."""

    def __init__(self, fills: Iterable[tuple[str, str, bool]], variables: Iterable[str]) -> None:
        self._fills = [
            (name, CompiledTemplate(value, "variables", sandbox.TEXT), wins) for name, value, wins in fills
        ]
        self._names = sorted({name.split(".")[0] for name in variables})

    def of(self, given: Mapping[str, object], run: RenderBudget) -> Mapping[str, object]:
        """Return the recipient's values, gaps filled by the campaign's. Raises ``EmailError``.

        The error is for a field longer than ``render_budget.FIELD``.
        """
        for name in self._names:
            value = given.get(name)
            if isinstance(value, str) and len(value) > render_budget.FIELD:
                raise EmailError(
                    _(
                        "The field “${name}” of this recipient is longer than 10,000 characters.",
                        mapping={"name": name},
                    )
                )
        known = {name: value for name, value in given.items() if value is not None}
        for name, program, wins in self._fills:
            own = known.get(name, "")
            if wins or (isinstance(own, str) and not own.strip()):
                known[name] = program.render(known, run)
        return known


def recipient_links(urls: Urls | None) -> dict[str, object]:
    """Return the variables that we provide. Without addresses (a preview) they lead nowhere."""
    if urls is None:
        return {"unsubscribe_url": "#", "browser_url": "#", "_open": "", "_click": ""}
    return {
        "unsubscribe_url": urls.unsubscribe,
        "browser_url": urls.browser,
        "_open": urls.open,
        "_click": urls.click,
    }


class _Expand:
    """Fills the slots of a prepared source for one way of sending it."""

    def __init__(
        self, email: CompiledEmail, footer: FooterTexts, tracked: bool, opens: bool, postal_address: str
    ) -> None:
        self._links = email.links
        self._tracked = tracked
        self._opens = opens
        self._footer = footer
        self._address = " ".join(postal_address.split())
        self._filled = " ".join(value for _name, value, _wins in email.fills)

    def html(self, source: str) -> str:
        return self._expanded(source, in_html=True)

    def text(self, source: str) -> str:
        return self._expanded(source, in_html=False)

    def _expanded(self, source: str, in_html: bool) -> str:
        self._way_out = "unsubscribe_url" in source or "unsubscribe_url" in self._filled
        return placeholders.SLOT.sub(lambda slot: self._fill(slot, in_html), source)

    def _fill(self, slot: re.Match[str], in_html: bool) -> str:
        if slot[1] == "link":
            return self._link(int(slot[2]), slot[3], in_html)
        if slot[1] == "pixel":
            return PIXEL if self._opens and in_html else ""
        return self._html_footer() if in_html else self._text_footer()

    def _link(self, number: int, written: str | None, in_html: bool) -> str:
        if self._tracked:
            return "{{ _click }}/" + str(number)
        if written is not None:
            return written
        address = self._links[number - 1]
        if not in_html:
            return address
        masked = placeholders.mask(address)
        return masked.unmask(masked.text, html.escape)

    def _html_footer(self) -> str:
        lines = []
        if not self._way_out:
            link = '<a href="{{ %s }}" style="color:inherit;text-decoration:underline">%s</a>'
            leave = link % ("unsubscribe_url", self._footer.unsubscribe)
            browser = link % ("browser_url", self._footer.browser)
            ways = leave + "{% if browser_url %} &nbsp;·&nbsp; " + browser + "{% endif %}"
            lines += [html.escape(self._footer.why), ways]
        if self._address:
            lines.append(placeholders.escape_code(html.escape(self._address)))
        if not lines:
            return ""
        return (
            '<div style="clear:both;margin:32px auto 0;padding:16px 24px 24px;max-width:600px;'
            "text-align:center;font-family:-apple-system,'Segoe UI',Roboto,Arial,sans-serif;"
            "font-size:12px;line-height:18px;"
            f'color:#767676">{"<br>".join(lines)}</div>'
        )

    def _text_footer(self) -> str:
        lines = []
        if not self._way_out:
            lines += [
                self._footer.why,
                self._footer.unsubscribe + ": {{ unsubscribe_url }}",
                "{% if browser_url %}" + self._footer.browser + ": {{ browser_url }}{% endif %}",
            ]
        if self._address:
            lines.append(placeholders.escape_code(self._address))
        return "\n-- \n" + "\n".join(lines) + "\n" if lines else ""


PIXEL = (
    '<img src="{{ _open }}" width="1" height="1" alt="" style="display:block;width:1px;height:1px;border:0">'
)


# --- clicks


@lru_cache(maxsize=1024)
def _compiled_link(address: str) -> CompiledTemplate:
    return CompiledTemplate(address, "links", sandbox.TEXT)


@lru_cache(maxsize=256)
def _values_of(fills: tuple[tuple[str, str, bool], ...], variables: frozenset[str]) -> Values:
    return Values(fills, variables)  # Not cached by the email, which would keep its whole source.


# Compiling blocks the whole process, so longer and slower templates go to the limited process.
_QUICK = 2000
QUICK_SECONDS = 0.05
_QUICK_STEPS = 500
_QUICK_WORK = 100_000  # characters


def quick_run(seconds: float = render_budget.SECONDS) -> RenderBudget:
    """Return a budget of ``seconds`` for a link that is rendered between other work."""
    run = RenderBudget(deadline=monotonic() + seconds)
    run.steps, run.worked = _QUICK_STEPS, _QUICK_WORK
    return run


def link_of(email: CompiledEmail, number: int) -> str:
    """Return the template of link ``number``. Raises ``EmailError`` when there is none."""
    if not 1 <= number <= len(email.links):
        raise EmailError(_("This email has no such link."), "links")
    return email.links[number - 1]


def is_quick(email: CompiledEmail, address: str) -> bool:
    """Return whether a link can be rendered in this process: with all it may use, it is a few lines."""
    return len(address) + sum(len(value) for _name, value, _wins in email.fills) <= _QUICK


def render_link(
    email: CompiledEmail, address: str, values: Mapping[str, object], run: RenderBudget | None = None
) -> str:
    """Return the recipient's target of a link: ASCII, http or https. Raises ``EmailError`` for any other."""
    rendered = address
    if "{" in address:
        run = run or RenderBudget()
        rendered = _compiled_link(address).render(
            _values_of(email.fills, email.variables).of(values, run), run
        )
    if len(rendered.strip()) > web_addresses.MOST_CHARACTERS:
        raise RenderTooLarge(render_budget.LONG_TEXTS)
    target = web_addresses.web_address(rendered)
    if target is None:
        raise EmailError(_("This link does not lead to a web page."), "links")
    return target
