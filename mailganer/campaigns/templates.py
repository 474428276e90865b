"""Email templates of an account."""

import hashlib
import json
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial

from sqlalchemy import func, select
from sqlalchemy.orm import Session, defer, object_session

from .. import rendering
from ..db import without_transaction
from ..errors import EmailError, InputError, _
from ..models import Account, Campaign, Template
from .draft_fields import LONGEST_EMAIL, LONGEST_LINE, LONGEST_NAME, clean_line, clean_text
from .drafts import copy_name
from .frozen_emails import parts_of, source_of

MOST_TEMPLATES = 1_000  # per account: a loop over the API should not fill the disk


def list_templates(session: Session, account_id: int) -> list[Template]:
    """Return an account's templates, the last changed first. Their content is loaded on access."""
    return list(
        session.scalars(
            select(Template)
            .options(defer(Template.html), defer(Template.text))
            .where(Template.account_id == account_id)
            .order_by(Template.updated_at.desc(), Template.id.desc())
        )
    )


def create_template(
    session: Session,
    account: Account,
    *,
    name: str,
    subject: str = "",
    preheader: str = "",
    html: str = "",
    text: str = "",
    now: datetime,
) -> Template:
    """Create a template. Raise ``InputError`` with every invalid field."""
    values = _checked({"name": name, "subject": subject, "preheader": preheader, "html": html, "text": text})
    _require_room(session, account.id)
    template = Template(account_id=account.id, created_at=now, updated_at=now, **values)
    session.add(template)
    session.flush()
    return template


def update_template(
    session: Session, template: Template, changes: Mapping[str, str], now: datetime
) -> Template:
    """Save the given parts. Campaigns created from it keep their email. Raise ``InputError``."""
    for name, value in _checked(changes).items():
        setattr(template, name, value)
    template.updated_at = now
    session.flush()
    return template


def duplicate_template(session: Session, template: Template, now: datetime) -> Template:
    """Create a copy. Raise ``InputError``."""
    _require_room(session, template.account_id)
    copy = Template(
        account_id=template.account_id,
        name=copy_name(template.name),
        created_at=now,
        updated_at=now,
        **parts_of(template),
    )
    session.add(copy)
    session.flush()
    return copy


def delete_template(session: Session, template: Template) -> None:
    """Delete a template. Campaigns created from it keep their email."""
    session.delete(template)
    session.flush()


def keep_as_template(session: Session, account: Account, campaign: Campaign, now: datetime) -> Template:
    """Create a template from a campaign's email."""
    name = campaign.name or campaign.subject or "Email"
    return create_template(session, account, name=name[:LONGEST_NAME], now=now, **parts_of(campaign))


def variables_of(template: Template) -> tuple[str, ...]:
    """Return the names the template uses, sorted. Raise ``EmailError``.

    The session's transaction is ended (``db.without_transaction``) if they are not cached.
    """
    return names_of(object_session(template), source_of(template), template.account_id)


def names_of(session: Session | None, source: rendering.Source, account_id: int) -> tuple[str, ...]:
    """Return the names that an email uses which is not stored, sorted. Raise ``EmailError``."""
    if not _known_names.has(source):
        return without_transaction(
            session, rendering.for_account(account_id, partial(_known_names.of, source))
        )
    return _known_names.of(source)


def cache_variables(session: Session, found: Iterable[Template]) -> None:
    """Find the variables of several templates at once, so that ``variables_of`` has them cached."""
    unknown = [(each.account_id, source) for each in found if not _known_names.has(source := source_of(each))]

    def look() -> None:
        for account_id, source in unknown:
            with suppress(EmailError):  # raised again by ``variables_of``
                rendering.for_account(account_id, partial(_known_names.of, source))()

    if unknown:
        without_transaction(session, look)


def checked_source(
    *, name: str, subject: str = "", preheader: str = "", html: str = "", text: str = ""
) -> rendering.Source:
    """Return the email that ``create_template`` would store. Raise ``InputError``."""
    values = _checked({"name": name, "subject": subject, "preheader": preheader, "html": html, "text": text})
    return rendering.Source(**{part: values[part] for part in rendering.PARTS})


class _KnownNames:
    """Cache of the names found in templates.

    Finding them takes the sandboxed process, which previews also need; a list of hundreds of templates must
    not keep it busy each time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: dict[bytes, tuple[str, ...] | EmailError] = {}
        self._lock = threading.Lock()

    @staticmethod
    def _key(source: rendering.Source) -> bytes:
        return hashlib.sha256(json.dumps(vars(source)).encode()).digest()

    def has(self, source: rendering.Source) -> bool:
        return self._key(source) in self._found

    def of(self, source: rendering.Source) -> tuple[str, ...]:
        key = self._key(source)
        found = self._found.get(key)
        if found is None:
            found = self._find_names(source)
            with self._lock:
                if len(self._found) >= self._most:
                    del self._found[next(iter(self._found))]
                self._found[key] = found
        if isinstance(found, EmailError):
            raise EmailError(found.message, found.field, found.line)
        return found

    def _find_names(self, source: rendering.Source) -> tuple[str, ...] | EmailError:
        try:
            return tuple(sorted(rendering.variables_of(source)))
        except EmailError as error:
            if error.line is None:
                raise  # a limit was reached, or the child process lost: not reproducible, so not cached
            return error


_known_names = _KnownNames(2 * MOST_TEMPLATES)


def _require_room(session: Session, account_id: int) -> None:
    number = session.scalar(select(func.count()).where(Template.account_id == account_id)) or 0
    if number >= MOST_TEMPLATES:
        raise InputError({"name": _("You have 1,000 templates, which is the maximum. Delete some first.")})


def _checked(values: Mapping[str, str]) -> dict[str, str]:
    problems: dict[str, str] = {}
    kept: dict[str, str] = {}
    for name, value in values.items():
        if name not in ("name", *rendering.PARTS):
            problems[name] = _("A template has no such field.")
            continue
        longest = {"name": LONGEST_NAME, "html": LONGEST_EMAIL, "text": LONGEST_EMAIL}.get(name, LONGEST_LINE)
        kept[name] = clean_text(value) if name in ("html", "text") else clean_line(value)
        if len(kept[name]) > longest:
            problems[name] = _(
                "The value is too long. The maximum is ${longest} characters.", mapping={"longest": longest}
            )
    if "name" in kept and not kept["name"]:
        problems["name"] = _("Enter a name for the template.")
    if problems:
        raise InputError(problems)
    return kept
