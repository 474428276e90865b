"""Messages and receipts: what is given to a connection, and what it returns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from translationstring import TranslationString

from ..errors import with_mapping

REPLY_LENGTH = 500

# Control and format characters that could break the display in a terminal, page or log.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


class Outcome(StrEnum):
    """Result of one message. A closed list: the worker knows no other."""

    accepted = "accepted"  # the server took responsibility for it
    refused = "refused"  # this recipient is refused for good; retrying does not help
    deferred = "deferred"  # not now; the recipient stays pending
    exhausted = "exhausted"  # the account reached its limit: it sleeps, the recipient stays pending
    unauthorised = "unauthorised"  # the account may not send at all: it stops and reports that
    in_doubt = "in_doubt"  # the connection broke when the server may have had the message


class Scope(StrEnum):
    """What an answer is about: decides what waits and which recipient is never tried again."""

    recipient = "recipient"  # this address
    message = "message"  # this email: its size, its content; other recipients would be refused it, too
    domain = "domain"  # the sender's domain and its DNS records (SPF, DKIM, DMARC)
    account = "account"  # the mail account: its login, its limits, its pace
    connection = "connection"  # the server or the network on the way to it


@dataclass(frozen=True, slots=True)
class Message:
    """One email to one address: ``content`` is the whole RFC 5322 message with CRLF line ends.

    ``no_leading_dots`` promises that no line of it begins with a dot, so that SMTP need not search for them.
    """

    id: int | str
    sender: str
    recipient: str
    content: bytes
    no_leading_dots: bool = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of one message.

    ``reply`` holds the server's own answer, cut and cleaned by :func:`clean`; ``retry_after`` is in seconds
    and only set when the server, or its documentation, names a time. ``sure`` is false when the recipient had
    already been named, so that an answer which looks like one about the account or the server may be about
    the recipient: it is compared with the answers for other recipients before the sender waits or stops.
    """

    message_id: int | str
    outcome: Outcome
    reply: str = ""
    retry_after: int | None = None
    scope: Scope = Scope.recipient
    sure: bool = True

    @property
    def goes_on(self) -> bool:
        """Whether the next message can succeed on the same connection, now."""
        if self.outcome in (Outcome.exhausted, Outcome.unauthorised):
            return False
        return self.outcome is Outcome.accepted or self.scope not in (Scope.account, Scope.connection)


def clean(reply: str | bytes) -> str:
    """Return a server's answer in a form to store and show: one line, printable, at most 500 characters.

    A sentence of ours keeps its values separate, so that it can be translated when it is shown.
    """
    if isinstance(reply, TranslationString) and reply.mapping:
        values = {
            name: clean(each) if isinstance(each, str) else each for name, each in reply.mapping.items()
        }
        return with_mapping(reply, values)
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)
    if not text.isprintable():
        text = _UNPRINTABLE.sub(" ", text)
    return text.strip()[:REPLY_LENGTH]
