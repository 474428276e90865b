"""Emails as their recipients open them in a browser."""

from collections import OrderedDict
from functools import partial
from threading import Lock
from time import monotonic

from sqlalchemy.orm import Session, sessionmaker

from .. import rendering
from ..errors import EmailError, NotFound, _
from ..i18n.footer_loader import footer_texts
from .sent_emails import KnownEmail, recipient_values, urls_for
from .sent_versions import SentVersion, SentVersions, VersionKey

PROVEN_SECONDS = 0.3  # within which the limited process must have rendered a version once
MOST_RENDERERS = 50
LONGEST_SOURCE = 200_000  # characters; rendered in this process
MOST_CHARACTERS = 2_000_000  # of the sources of all renderers together

_Key = tuple[VersionKey | None, str, str]


class BrowserViews:
    """Renders emails for the browser: without the "view in browser" link.

    Untrusted templates are rendered in the limited process. A version that was rendered there quickly is then
    compiled in this process as well, and rendered under a small budget; an email that exceeds it is rendered
    in the limited process.
    """

    def __init__(self, readers: sessionmaker[Session], versions: SentVersions, public_url: str) -> None:
        self._readers, self._versions, self._public_url = readers, versions, public_url
        self._lock = Lock()
        self._renderers: OrderedDict[_Key, rendering.PageRenderer] = OrderedDict()
        self._characters = 0

    def quick(self, known: KnownEmail) -> str | None:
        """Return the HTML of an email if its version has proven to be quick, else None."""
        if known.version is None:
            return None
        with self._lock:
            renderer = self._renderers.get(_key(known))
        version = self._versions.get(known.version) if renderer else None
        if renderer is None or version is None:
            return None
        try:
            return renderer.render(self._values(known, version), self._urls(known))
        except EmailError:
            return None

    def render(self, known: KnownEmail) -> rendering.Rendered:
        """Return the email in the limited process. Raise ``NotFound`` when it cannot be rendered."""
        version = self._versions.get(known.version) if known.version else None
        if version is None:
            raise NotFound(_("This email cannot be displayed."))
        work = partial(
            rendering.safe_render,
            version.email,
            self._values(known, version),
            urls=self._urls(known),
            locale=known.locale,
            footer=footer_texts(known.locale),
            postal_address=known.postal_address,
        )
        begun = monotonic()
        try:
            rendered = rendering.for_account(known.account_id, work)()
        except EmailError as error:
            raise NotFound(_("This email cannot be displayed.")) from error
        if monotonic() - begun < PROVEN_SECONDS:
            self._keep(known, version)
        return rendered

    def _values(self, known: KnownEmail, version: SentVersion) -> dict[str, object]:
        with self._readers() as session:
            return recipient_values(session, known, version.email)

    def _urls(self, known: KnownEmail) -> rendering.Urls:
        return urls_for(self._public_url, known.token)._replace(browser="")

    def _keep(self, known: KnownEmail, version: SentVersion) -> None:
        key, size = _key(known), len(version.email.html)
        with self._lock:
            if key in self._renderers or not 0 < size <= LONGEST_SOURCE:
                return
        renderer = rendering.PageRenderer(
            version.email,
            locale=known.locale,
            footer=footer_texts(known.locale),
            postal_address=known.postal_address,
        )
        with self._lock:
            if key not in self._renderers:
                self._renderers[key] = renderer
                self._characters += renderer.size
            while len(self._renderers) > MOST_RENDERERS or self._characters > MOST_CHARACTERS:
                _oldest, dropped = self._renderers.popitem(last=False)
                self._characters -= dropped.size


def _key(known: KnownEmail) -> _Key:
    return known.version, known.locale, known.postal_address
