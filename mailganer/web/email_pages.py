"""Pages of one email, answered before Pyramid handles the request: unsubscribe page and view in the browser.

The emails of requests that come together are read by one statement. The unsubscribe page is the same for all
recipients of a sender except for a few words: those are put into a page that its view has rendered before. An
email is rendered in this process if it has proven to be quick. Every other request goes on to its view.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from secrets import token_hex
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup, escape
from pyramid.registry import Registry

from mailganer.i18n.languages import is_language
from mailganer.i18n.translator import translator
from mailganer.models import token_bytes, token_text
from mailganer.tracking import (
    BrowserViews,
    GroupWriter,
    KnownEmail,
    Outcome,
    UnsubscribePage,
    page_of,
)
from mailganer.web import security_headers

from .clicks import PRIVATE
from .compression import LARGEST, SMALLEST, compressed_page, takes_gzip
from .headers import view_headers
from .health import REQUESTS, SECONDS
from .localization import date_html

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

BEFORE = ("/u/", "/v/")
MOST_PAGES = 300

_PATH = re.compile(r"/([uv])/([A-Za-z0-9_-]{22})")
_LANGUAGE = re.compile(r"(?:lang=([a-z]{2,3}))?")
_BEGUN = "mailganer.page_begun"
_KNOWN = "mailganer.known"
_NAMES = {"u": "unsubscribe", "v": "email_in_browser"}


class PageKey(NamedTuple):
    """All that an unsubscribe page depends on, except for the words that differ by recipient."""

    language: str
    requested: str  # the language that the URL names
    sender_name: str
    sender_email: str
    subscribed: bool
    left_by_this: bool
    dated: tuple[bool, bool]

    @classmethod
    def of(cls, page: UnsubscribePage, language: str, requested: str) -> "PageKey":
        return cls(
            language,
            requested,
            page.sender_name,
            page.sender_email,
            page.subscribed,
            page.left_by_this,
            (page.since is not None, page.sent_at is not None),
        )


class PageValues(NamedTuple):
    """What differs by recipient, as HTML."""

    token: str
    address: str
    since: str
    sent_at: str


class PrerenderedPages:
    """Unsubscribe pages with marks in the places of a recipient's values. Bounded; threads may share it."""

    MARKS = PageValues(*(f"mark{token_hex(12)}" for _each in PageValues._fields))

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: OrderedDict[PageKey, list[str]] = OrderedDict()

    def __contains__(self, key: PageKey) -> bool:
        return key in self._kept

    def keep(self, key: PageKey, html: str) -> None:
        """Keep a page that was rendered with ``MARKS``."""
        marks = re.compile(f"({'|'.join(self.MARKS)})")
        with self._lock:
            self._kept[key] = marks.split(html)
            while len(self._kept) > MOST_PAGES:
                self._kept.popitem(last=False)

    def fill(self, key: PageKey, values: PageValues) -> str | None:
        """Return the page with these values; None if it is not kept."""
        with self._lock:
            pieces = self._kept.get(key)
            if pieces is None:
                return None
            self._kept.move_to_end(key)
        given = dict(zip(self.MARKS, values, strict=True))
        return "".join([given.get(piece, piece) for piece in pieces])


class EmailPagesFirst:
    """WSGI middleware that answers GET of ``/u/TOKEN`` and ``/v/TOKEN`` itself where it can."""

    def __init__(self, application: "WSGIApplication", registry: Registry) -> None:
        self._application = application
        self._looks: GroupWriter[bytes, KnownEmail] = registry["looks"]
        self._pages: PrerenderedPages = registry["prerendered_pages"]
        self._views: BrowserViews = registry["views"]
        common = security_headers(registry["settings"])
        self._page_headers = list((common | PRIVATE).items())
        self._view_headers = list((common | view_headers()).items())
        self._answered = {each: REQUESTS.labels("GET", name, 200) for each, name in _NAMES.items()}
        self._seconds = {each: SECONDS.labels(name) for each, name in _NAMES.items()}

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        start = environ.get(_BEGUN) or perf_counter()
        kind, known = self._known(environ)
        html = self._html(kind, known, environ) if known else None
        if html is None:
            return self._application(environ, start_response)
        body = html.encode()
        headers = [*(self._page_headers if kind == "u" else self._view_headers)]
        if SMALLEST <= len(body) <= LARGEST:
            headers.append(("Vary", "Accept-Encoding"))
            if takes_gzip(environ.get("HTTP_ACCEPT_ENCODING", "")):
                body = compressed_page(body)
                headers.append(("Content-Encoding", "gzip"))
        headers += [("Content-Type", "text/html; charset=UTF-8"), ("Content-Length", str(len(body)))]
        start_response("200 OK", headers)
        self._answered[kind].inc()
        self._seconds[kind].observe(perf_counter() - start)
        return [body]

    def begin(
        self, environ: "WSGIEnvironment", done: Callable[[bool], None], wake: Callable[[], None]
    ) -> bool:
        """Begin to answer a request, see ``ClicksFirst.begin``."""
        kind, token = _address(environ)
        if not token:
            return False
        environ[_BEGUN] = perf_counter()

        def answered(outcome: Outcome[KnownEmail]) -> None:
            environ[_KNOWN] = outcome
            answer = outcome.answer
            prompt = kind == "u" and answer is not None and self._is_prerendered(answer, environ)
            done(prompt)

        return self._looks.submit(token, answered, wake)

    def _known(self, environ: "WSGIEnvironment") -> tuple[str, KnownEmail | None]:
        kind, token = _address(environ)
        if token and _KNOWN not in environ:
            environ[_KNOWN] = self._looks.wait(token)
        outcome: Outcome[KnownEmail] | None = environ.get(_KNOWN)
        return kind, outcome.answer if outcome else None

    def _html(self, kind: str, known: KnownEmail, environ: "WSGIEnvironment") -> str | None:
        if kind == "v":
            return self._views.quick(known)
        page, key = page_of(known), _key(known, environ)
        if page is None or key is None:
            return None
        values = PageValues(
            token_text(known.token),
            str(escape(page.address)),
            _date(page.since, key.language),
            _date(page.sent_at, key.language),
        )
        return self._pages.fill(key, values)

    def _is_prerendered(self, known: KnownEmail, environ: "WSGIEnvironment") -> bool:
        key = _key(known, environ)
        return key is not None and key in self._pages


def _address(environ: "WSGIEnvironment") -> tuple[str, bytes | None]:
    """Return the kind of page and the token of a request that may be answered here."""
    found = _PATH.fullmatch(environ.get("PATH_INFO", ""))
    if found is None or environ["REQUEST_METHOD"] != "GET":
        return "", None
    return found[1], token_bytes(found[2])


def _key(known: KnownEmail, environ: "WSGIEnvironment") -> PageKey | None:
    """Return what is the same for other recipients; None if the page depends on more than that."""
    query = _LANGUAGE.fullmatch(environ.get("QUERY_STRING", ""))
    page = page_of(known)
    if page is None or query is None or environ.get("HTTP_COOKIE") or environ.get("SCRIPT_NAME"):
        return None
    language = query[1] or page.locale
    return PageKey.of(page, language, query[1] or "") if is_language(language) else None


@lru_cache(maxsize=4096)  # many recipients were added and sent to at the same time
def _date(at: datetime | None, language: str) -> str:
    return "" if at is None else str(date_html(translator(language, UTC, unbroken=True), at))


def marked(page: UnsubscribePage) -> tuple[UnsubscribePage, Sequence[Markup]]:
    """Return a page with marks instead of a recipient's words, and the marks of its dates."""
    marks = PrerenderedPages.MARKS
    return replace(page, address=marks.address), (escape(marks.since), escape(marks.sent_at))
