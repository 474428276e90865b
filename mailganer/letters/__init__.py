"""What is written: text in, bytes out. No database, no request, no network.

``compile_letter`` turns what a person wrote into a frozen ``Letter``; a ``Press`` prints it for one reader
after another. Templates are strangers' work: they are compiled, and rendered for pages, in a limited process.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from . import child, engine
from .bounds import SECONDS, TooMuch, too_slow
from .child import place, refuse_while
from .names import NEVER_READ, TAGS
from .parts import OWN_ADDRESSES, PARAGRAPHS, PARTS, Copy, Envelope, Letter, Rendered, Source, Urls
from .press import Press
from .reading import Glance, Reading
from .ready import Ready, ready_letters

# Names that every letter may use without anybody having such a column.
GIVEN = frozenset(
    ("unsubscribe_url", "browser_url", "today", "email", "campaign.name", "list.name", "sender.name")
)


T = TypeVar("T")


def for_account(account_id: int, work: Callable[[], T]) -> Callable[[], T]:
    """Return ``work``, counted to an account: one of its emails is worked on at a time, a few more wait.

    What it calls raises ``Busy`` when there are too many.
    """

    def counted() -> T:
        with child.counted_to(account_id):
            return work()

    return counted


def compile_letter(
    source: Source,
    *,
    campaign_variables: Mapping[str, str] = {},
    overriding: Collection[str] = (),
    ours: str = "",
    targets: Mapping[str, str] = {},
) -> Letter:
    """A letter ready for printing. Raises ``LetterError`` with field and line for what cannot be used.

    ``campaign_variables`` are templates, too. They fill what a reader's values lack; those named in
    ``overriding`` win over the reader's values. Addresses of another recipient at ``ours``, the public
    address of the installation, become this recipient's own; ``targets`` are the addresses behind its counted
    links (``copied``).
    """
    answer = child.ask(
        "compile",
        source=vars(source),
        variables=dict(campaign_variables),
        overriding=sorted(overriding),
        ours=ours,
        targets=dict(targets),
    )
    return Letter.from_json(answer)


def variables_of(source: Source) -> frozenset[str]:
    """The variables a source names, dotted for ``campaign.name``. Raises ``LetterError`` as above."""
    return frozenset(child.ask("variables", source=vars(source)))


def safe_render(
    letter: Letter,
    values: Mapping[str, object],
    *,
    urls: Urls | None = None,
    locale: str = "en",
    postal_address: str = "",
) -> Rendered:
    """One reader's letter for a page. Without ``urls`` its links lead where they were written to lead, and
    nothing is counted. Raises ``LetterError``."""
    answer = child.ask(
        "render",
        letter=letter.to_json(),
        values=dict(values),
        urls=urls._asdict() if urls else None,
        locale=locale,
        address=postal_address,
    )
    return Rendered(**answer)


def read_email(parts: Mapping[str, str], html: str | None, *, ours: str, broken: bool) -> Reading:
    """What is found in an email and its sources, as ``reading.read`` takes them. Raises ``LetterError``."""
    return Reading.from_json(child.ask("read", parts=dict(parts), html=html, ours=ours, broken=broken))


def glance_at(parts: Mapping[str, str], html: str) -> Glance:
    """What the page needs on which an email is written: see ``reading.glance``. Raises ``LetterError``."""
    size, guarded = child.ask("glance", parts=dict(parts), html=html)
    return Glance(size, frozenset(guarded))


def render_link(letter: Letter, number: int, values: Mapping[str, object]) -> str:
    """The reader's target of link ``number``: ASCII, http or https. Raises ``LetterError`` for any other."""
    address = engine.link_of(letter, number)
    if "{" in address:
        child.require_freedom()
    if "{" not in address or engine.is_quick(letter, address):
        with suppress(TooMuch):
            return engine.render_link(letter, address, values, engine.quick_run(engine.QUICK_SECONDS))
    # Only what a link needs goes to the limited process.
    slim = replace(letter, subject="", preheader="", html="", text="", links=())
    answer: str = child.ask("link", letter=slim.to_json(), address=address, values=dict(values))
    return answer


__all__ = [
    "GIVEN",
    "NEVER_READ",
    "OWN_ADDRESSES",
    "PARAGRAPHS",
    "PARTS",
    "SECONDS",
    "TAGS",
    "Copy",
    "Envelope",
    "Glance",
    "Letter",
    "Press",
    "Reading",
    "Ready",
    "Rendered",
    "Source",
    "Urls",
    "compile_letter",
    "for_account",
    "glance_at",
    "place",
    "read_email",
    "ready_letters",
    "refuse_while",
    "render_link",
    "safe_render",
    "too_slow",
    "variables_of",
]
