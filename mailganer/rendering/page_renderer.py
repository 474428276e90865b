"""Renderer of the HTML of one email for the browser: compiled once, used for many recipients."""

from collections.abc import Mapping

from . import render_process
from .engine import Engine, quick_run, recipient_links
from .rendered_links import OtherRecipients
from .types import CompiledEmail, FooterTexts, Urls

QUICK_SECONDS = 0.05


class PageRenderer:
    """Renders the HTML of an email in this process, under a small budget. Threads may share it."""

    def __init__(
        self, email: CompiledEmail, *, locale: str, footer: FooterTexts, postal_address: str
    ) -> None:
        """Compile the email. Raises ``EmailError``."""
        render_process.require_no_transaction()
        self.size = len(email.html)
        self._locale = locale
        engine = Engine(email, footer=footer, postal_address=postal_address)
        self._values, self._html = engine.values, engine.html

    def render(self, values: Mapping[str, object], urls: Urls) -> str:
        """Return the HTML for one recipient. Raises ``EmailError``, also when it is not quick."""
        render_process.require_no_transaction()
        run = quick_run(QUICK_SECONDS)
        run.locale = self._locale
        known = self._values.of({**values, **recipient_links(urls)}, run)
        html = self._html.render(known, run) if self._html else ""
        others = OtherRecipients(urls)
        return others.replaced(html, in_html=True) if others.has_link_in_part(html) else html
