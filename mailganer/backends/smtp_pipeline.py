"""Sending of emails over an open SMTP session, with as many in flight as server and operator allow.

There are three modes. A *flight* is an email being sent; it ends with a receipt. Flights end in the order in
which their messages were consumed, and each of them ends whatever happens: what the server had in full
without answering is in doubt, what it cannot have had in full is tried once more on a new connection, or
deferred.

- one at a time: envelope (in one group when PIPELINING is offered), content, answer. For mailbox providers.
- overlapped: the content and the next email's envelope in one write (RFC 2920, section 3.1): one round
  trip per email, never more than one email unanswered.
- chunked: envelope and content in one write by ``BDAT`` (RFC 3030), several emails deep: the distance to the
  server stops to matter.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from ..errors import BackendError, InputError, LoginRefused, _
from .addresses import normalise_host
from .base import Connection
from .extensions import CHUNKING, PIPELINING, SUSPECTED_FOR, avoid
from .messages import Message, Outcome, Receipt, Scope
from .replies import (
    ACCEPTED,
    LATER_CONNECTION,
    REFUSED_MESSAGE,
    REFUSED_RECIPIENT,
    UNAUTHORISED,
    Reply,
    ReplyOutcome,
    Stage,
)
from .session import Session
from .wire import NOT_SMTP, Broken, ConnectionClosed, InvalidReply

IN_DOUBT = ReplyOutcome(Outcome.in_doubt, Scope.connection)

# Allowed between the angle brackets: no spaces, no brackets, no control characters.
_ADDRESS = re.compile(r"[^\s<>\x00-\x1f\x7f]+@[^\s<>@\x00-\x1f\x7f]+")

# A dot at the start of what any server could take for a line. Dots are rare: searching for them first, and
# checking the character before them second, takes a sixth of the time of searching for line ends.
_LEADING_DOT = re.compile(rb"\.(?<=[\r\n]\.)")

BAD_ADDRESS = str(_("This address cannot be used in SMTP."))
NEEDS_UTF8 = str(_("The server does not accept addresses with these characters before the @."))
TOO_BIG = str(_("The email is larger than the server accepts."))
BARE_LINE_END = str(
    _(
        "The email has a malformed line ending next to a dot, which some servers treat as "
        "the end of the email."
    )
)


_NO_BDAT = frozenset({500, 501, 502, 504})
_BAD_SEQUENCE = 503
# RFC 3463, section 3.6: invalid command, syntax error, invalid arguments; some servers send it as 550 or 554.
_INVALID_COMMAND = re.compile(r"5\d\d[ -]5\.5\.[124]\b|\b(?:BDAT|CHUNKING)\b", re.IGNORECASE)


class Flight:
    """One email being sent."""

    __slots__ = ("begun", "content", "end", "mail", "message", "rcpt", "receipt")

    def __init__(self, message: Message) -> None:
        self.message = message
        self.mail = b""
        self.rcpt = b""
        self.content = b""
        self.begun = False  # its envelope was written
        self.end = 0  # position of its last byte in what the wire has sent; 0: content not written
        self.receipt: Receipt | None = None

    def judge(self, verdict: ReplyOutcome, reply: str) -> None:
        """End this flight."""
        self.receipt = verdict.receipt(self.message.id, reply)

    def back_to_start(self) -> None:
        """Mark as certainly not received by the server: it may be written again."""
        self.begun, self.end = False, 0


class ServerLeaves(Broken):
    """The server answered 421. ``verdict`` applies to the email if no other connection can try it."""

    def __init__(self, reply: str, verdict: ReplyOutcome) -> None:
        super().__init__(reply)
        self.verdict = verdict


class NotSupported(Broken):
    """The server refused an extension it had offered: emails without a receipt are sent without it."""

    def __init__(self, reply: str, extension: str) -> None:
        super().__init__(reply)
        self.extension = extension


class SMTPConnection(Connection):
    """Emails to one server, over one session after another.

    ``depth`` is how many emails may be unanswered; ``per_connection`` how many a session carries.
    """

    def __init__(
        self, open_session: Callable[[], Session], depth: int = 1, per_connection: int | None = None
    ) -> None:
        self._open_session = open_session
        self._depth = depth
        self._per_connection = per_connection
        self._session: Session | None = open_session()
        self._idle_since = time.monotonic()
        self._aborted = False

    def send_many(self, messages: Iterable[Message]) -> Iterator[Receipt]:
        """See :meth:`Connection.send_many`. Up to ``depth`` emails are consumed ahead of their receipts."""
        run = _Run(messages)
        try:
            if run.next_flight():
                self._check_awake()
            while run.next_flight():
                session = self._ready_session(run)
                if session is not None:
                    yield from self._send_flights(run, session)
                yield from run.ended()
            run.finish()
        finally:
            self._idle_since = time.monotonic()
            if run.flights:  # the caller stopped iterating: those answers will not be read
                self._drop()

    def close(self) -> None:
        """Send QUIT and close the connection."""
        session, self._session = self._session, None
        if session is not None:
            session.quit()

    def abort(self) -> None:
        """Close at once and for good; a wait in another thread ends with ``in_doubt`` or ``deferred``."""
        self._aborted = True
        session = self._session
        if session is not None:
            session.wire.abort()

    def _ready_session(self, run: _Run) -> Session | None:
        """Return a session for another email, or None after ending all flights because there is none."""
        if self._session is not None and self._is_used_up(self._session):
            self.close()
        if self._session is None:
            if self._aborted:
                run.give_up(LATER_CONNECTION, str(_("Mailganer closed the connection.")))
                return None
            try:
                self._session = self._open_session()
            except BackendError as error:
                verdict = UNAUTHORISED if isinstance(error, LoginRefused) else LATER_CONNECTION
                run.give_up(verdict, error.reply or error.message)
        return self._session

    def _send_flights(self, run: _Run, session: Session) -> Iterator[Receipt]:
        try:
            yield from self._mode(session)(run, session)
        except Broken as broken:
            self._drop()
            run.settle_break(session, broken, self._suspected_extension(session, broken))

    def _suspected_extension(self, session: Session, broken: Broken) -> str:
        """Return the extension that may have broken a connection before its first answer; or ""."""
        if session.answered or self._aborted or isinstance(broken, ServerLeaves):
            return ""
        if self._chunks(session):
            return CHUNKING
        return PIPELINING if session.pipelining else ""

    def _mode(self, session: Session) -> Callable[[_Run, Session], Iterator[Receipt]]:
        if self._depth < 2 or not session.pipelining:
            return self._one_by_one
        return self._chunked if self._chunks(session) else self._overlapped

    def _chunks(self, session: Session) -> bool:
        return self._depth > 1 and session.chunking

    def _is_used_up(self, session: Session) -> bool:
        return self._per_connection is not None and session.begun >= self._per_connection

    def _check_awake(self) -> None:
        """Drop a session whose server has closed it since the last email."""
        session = self._session
        if session is not None and not session.is_alive(time.monotonic() - self._idle_since):
            self._drop()

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.wire.close()

    def _next_prepared(self, run: _Run, session: Session) -> Flight | None:
        """Return the next email to write, consumed if needed; None when this session gets no more."""
        while not self._is_used_up(session):
            flight = run.next_flight()
            if flight is None:
                return None
            if prepare(flight, session, self._chunks(session)):
                flight.begun = True
                session.begun += 1
                return flight
        return None

    def _one_by_one(self, run: _Run, session: Session) -> Iterator[Receipt]:
        while (flight := self._next_prepared(run, session)) is not None:
            if _open_envelope(flight, session):
                _write_content(flight, session)
                _read_content_reply(flight, session)
            else:
                _reset(session)
            yield from run.ended()

    def _overlapped(self, run: _Run, session: Session) -> Iterator[Receipt]:
        flight = self._next_prepared(run, session)
        if flight is not None:
            session.wire.write(_envelope(flight), session.timeouts.command)
        while flight is not None:
            wanted = _read_envelope_replies(flight, session)
            following = self._next_prepared(run, session)
            envelope = _envelope(following) if following is not None else b""
            if wanted:
                _write_content(flight, session, envelope)
                _read_content_reply(flight, session)
            else:
                _reset(session, envelope)
            yield from run.ended()
            flight = following

    def _chunked(self, run: _Run, session: Session) -> Iterator[Receipt]:
        written: deque[Flight] = deque()
        broken: Broken | None = None
        while True:
            while broken is None and session.chunking and session.resets and len(written) < self._depth:
                flight = self._next_prepared(run, session)
                if flight is None:
                    break
                try:
                    _write_chunk(flight, session)
                except ConnectionClosed as closed:
                    broken = closed  # but it may have answered other emails before
                written.append(flight)
            if written:
                _read_chunk_replies(written.popleft(), session)
            yield from run.ended()
            if not written:
                break
        if not (session.chunking and session.resets):
            raise NotSupported("", CHUNKING)
        if broken is not None:
            raise broken


class _Run:
    """The emails of one ``send_many``: consumed from the caller in order, each ended by a receipt."""

    def __init__(self, messages: Iterable[Message]) -> None:
        self._source = iter(messages)
        self._drained = False
        self._error: BaseException | None = None
        self.flights: deque[Flight] = deque()

    def next_flight(self) -> Flight | None:
        """Return the first email neither written nor ended; consume one more if there is none."""
        for flight in self.flights:
            if flight.receipt is None and not flight.begun:
                return flight
        return self._pull()

    def ended(self) -> Iterator[Receipt]:
        """Yield the receipts at the front, up to the first flight without one."""
        while self.flights and (receipt := self.flights[0].receipt) is not None:
            self.flights.popleft()
            self._drained = self._drained or not receipt.goes_on
            yield receipt

    def give_up(self, verdict: ReplyOutcome, reply: str) -> None:
        """End every flight that has no receipt, and consume no more."""
        self._drained = True
        for flight in self.flights:
            if flight.receipt is None:
                flight.judge(verdict, reply)

    def settle_break(self, session: Session, broken: Broken, suspect: str = "") -> None:
        """Settle all flights of an ended connection: possibly complete ones are in doubt, the rest is open.

        The rest may be tried on another connection. That is only worth it when this one delivered something
        and left no doubt, or when there is an extension to do without. Otherwise the next one is not likely
        to fare better, and the owner of this connection decides when to reconnect.
        """
        if isinstance(broken, NotSupported):
            session.avoid(broken.extension)
            for flight in self.flights:
                flight.back_to_start()
            return
        doubt = False
        for flight in self.flights:
            if flight.receipt is None and 0 < flight.end <= session.wire.maybe_sent:
                flight.judge(IN_DOUBT, broken.reason)
                doubt = True
            flight.back_to_start()
        if suspect:
            session.avoid(suspect, SUSPECTED_FOR)
            if not doubt:
                return
        verdict = broken.verdict if isinstance(broken, ServerLeaves) else LATER_CONNECTION
        again = session.answered and not doubt and verdict == LATER_CONNECTION
        if not again or isinstance(broken, InvalidReply):
            self.give_up(verdict, broken.reason)

    def finish(self) -> None:
        """Raise what the caller's own iterator raised, now that all receipts are out."""
        if self._error is not None:
            raise self._error

    def _pull(self) -> Flight | None:
        if self._drained:
            return None
        try:
            message = next(self._source)
        except StopIteration:
            self._drained = True
            return None
        except Exception as error:
            self._drained, self._error = True, error
            return None
        flight = Flight(message)
        self.flights.append(flight)
        return flight


def prepare(flight: Flight, session: Session, chunked: bool) -> bool:
    """Write envelope and content for this server; False when the email cannot be sent to it at all.

    Content for ``BDAT`` stays as it is; for DATA its dots are stuffed.
    """
    message = flight.message
    content = message.content if message.content.endswith(b"\r\n") else message.content + b"\r\n"
    if not (_ADDRESS.fullmatch(message.recipient) and _ADDRESS.fullmatch(message.sender)):
        flight.judge(REFUSED_RECIPIENT, BAD_ADDRESS)
        return False
    if session.size_limit and len(content) > session.size_limit:
        flight.judge(REFUSED_MESSAGE, TOO_BIG)
        return False
    parameters = "" if session.size_limit is None else f" SIZE={len(content)}"
    if session.eight_bit and not content.isascii():
        parameters += " BODY=8BITMIME"
    sender, recipient = _ascii_domain(message.sender), _ascii_domain(message.recipient)
    if not (sender.isascii() and recipient.isascii()):
        if not session.utf8:
            flight.judge(REFUSED_RECIPIENT, NEEDS_UTF8)
            return False
        parameters += " SMTPUTF8"
    flight.mail = f"MAIL FROM:<{sender}>{parameters}\r\n".encode()
    flight.rcpt = f"RCPT TO:<{recipient}>\r\n".encode()
    flight.content = content
    return chunked or message.no_leading_dots or _stuff(flight)


def _stuff(flight: Flight) -> bool:
    """Double the dots at line starts, as DATA requires. False for an email that could be cut short.

    A dot after a bare CR or LF ends the email for some servers and not for others; one of them would take
    what follows as commands (SMTP smuggling, CVE-2023-51764 and related).
    """
    content = flight.content
    if not _LEADING_DOT.search(content):
        if content.startswith(b"."):
            flight.content = b"." + content
        return True
    stuffed = content.replace(b"\r\n.", b"\r\n..")
    if b"\r." in content or content.count(b"\n.") != content.count(b"\r\n."):
        flight.judge(REFUSED_MESSAGE, BARE_LINE_END)
        return False
    flight.content = b"." + stuffed if stuffed.startswith(b".") else stuffed
    return True


def _ascii_domain(address: str) -> str:
    if address.isascii():
        return address
    local, _at, domain = address.rpartition("@")
    try:
        return f"{local}@{normalise_host(domain)}"
    except InputError:
        return address


def _envelope(flight: Flight) -> bytes:
    return b"".join((flight.mail, flight.rcpt, b"DATA\r\n"))


def _open_envelope(flight: Flight, session: Session) -> bool:
    """Return whether the server waits for the content. One round trip with PIPELINING, else three."""
    wire, timeouts = session.wire, session.timeouts
    if session.pipelining:
        wire.write(_envelope(flight), timeouts.command)
        return _read_envelope_replies(flight, session)
    for line, stage in ((flight.mail, Stage.mail), (flight.rcpt, Stage.rcpt)):
        wire.write(line, timeouts.command)
        reply = wire.reply(timeouts.command)
        if not reply.ok:
            _fail(flight, session, reply, stage)
            return False
    wire.write(b"DATA\r\n", timeouts.command)
    reply = wire.reply(timeouts.data)
    if reply.code == 354:
        return True
    _fail(flight, session, reply, Stage.data)
    return False


def _read_envelope_replies(flight: Flight, session: Session) -> bool:
    """Read the three answers to a group. The first bad one is the verdict, whatever follows it."""
    wire, timeouts = session.wire, session.timeouts
    for stage in (Stage.mail, Stage.rcpt):
        reply = wire.reply(timeouts.command)
        if not reply.ok:
            _fail_group(flight, session, reply, stage)
            if stage is Stage.mail:
                wire.reply(timeouts.command)
            break
    reply = wire.reply(timeouts.data)
    if flight.receipt is None:
        if reply.code == 354:
            return True
        _fail_group(flight, session, reply, Stage.data)
    elif reply.code == 354:  # It accepts content for no recipient: send none (RFC 2920, section 3.1)
        wire.write(b".\r\n", timeouts.block)
        wire.reply(timeouts.final)
    return False


def _write_content(flight: Flight, session: Session, behind: bytes = b"") -> None:
    flight.end = session.wire.sent + len(flight.content) + 3
    try:
        session.wire.write(b"".join((flight.content, b".\r\n", behind)), session.timeouts.block)
    except ConnectionClosed:
        _read_content_reply(flight, session)  # it may have given a reason before
        raise


def _read_content_reply(flight: Flight, session: Session) -> None:
    reply = session.wire.reply(session.timeouts.final)
    if reply.ok and flight.end <= session.wire.maybe_sent:
        _accept(flight, session, reply)
        return
    verdict = _verdict(session, reply, Stage.content)
    session.answered += 1
    flight.judge(verdict, reply.text)
    if reply.code == 421:
        raise ServerLeaves(reply.text, verdict)


def _write_chunk(flight: Flight, session: Session) -> None:
    """Write envelope and content at once, after a RSET.

    Without RSET a failed email could leave its MAIL active: the next email's MAIL would be refused as nested,
    its RCPT and content accepted all the same, and no answer would show it.
    """
    command = b"BDAT %d LAST\r\n" % len(flight.content)
    data = b"".join((b"RSET\r\n", flight.mail, flight.rcpt, command, flight.content))
    flight.end = session.wire.sent + len(data)
    session.wire.write(data, session.timeouts.block)


def _read_chunk_replies(flight: Flight, session: Session) -> None:
    """Read the four answers to a chunk. The first bad one is the verdict.

    A server that does not know BDAT accepted none of the content. It may have skipped it, and answers the
    chunks after it in order; or it reads it as commands, and none of its further answers is an answer to us.
    """
    wire, timeouts = session.wire, session.timeouts
    if flight.end <= wire.maybe_sent and (reply := wire.take_successes(4)):
        _accept(flight, session, reply)
        return
    if session.chunking:
        _read_reset_reply(flight, session)
    else:
        _read_reset_after_chunk(session)
    named = False
    for stage in (Stage.mail, Stage.rcpt):
        reply = wire.reply(timeouts.command)
        named = reply.ok
        if not reply.ok and flight.receipt is None:
            _fail_chunk(flight, session, reply, stage)
    reply = wire.reply(timeouts.final)
    if reply.code in _NO_BDAT or (flight.receipt is None and _is_about_bdat(reply)):
        session.chunking = False
        flight.back_to_start()
    # Without RSET an older MAIL may still be active, so the content may have been accepted under that one.
    elif flight.receipt is None or (named and reply.ok and not session.resets):
        if reply.ok and flight.end <= wire.maybe_sent:
            _accept(flight, session, reply)
        else:
            _fail_chunk(flight, session, reply, Stage.content)


def _read_reset_reply(flight: Flight, session: Session) -> None:
    """Read the answer to the RSET before a chunk. A server that does not know RSET may accept the chunk."""
    reply = session.wire.reply(session.timeouts.command)
    if reply.code // 10 == 50:
        session.resets = False
    elif not reply.ok:
        _fail_chunk(flight, session, reply, Stage.hello)


def _is_about_bdat(reply: Reply) -> bool:
    return reply.code == _BAD_SEQUENCE or (
        reply.code // 100 == 5 and _INVALID_COMMAND.search(reply.raw.decode("utf-8", "replace")) is not None
    )


def _read_reset_after_chunk(session: Session) -> None:
    """Read the answer to the RSET after a chunk that was not understood."""
    try:
        reply = session.wire.reply(session.timeouts.command)
    except ConnectionClosed:
        raise NotSupported("", CHUNKING) from None
    if not reply.ok:
        raise NotSupported(reply.text, CHUNKING)


def _fail_group(flight: Flight, session: Session, reply: Reply, stage: Stage) -> None:
    if _is_confused(session, reply, stage):
        raise NotSupported(reply.text, PIPELINING)
    _fail(flight, session, reply, stage)


def _fail_chunk(flight: Flight, session: Session, reply: Reply, stage: Stage) -> None:
    if _is_confused(session, reply, stage):
        avoid(session.server.host, session.server.port, CHUNKING)  # from the next connection on
    try:
        _fail(flight, session, reply, stage)
    except ServerLeaves:
        # The server had the emails after this one, too. Only when it closes is it certain that it accepts
        # none of them.
        flight.end = 0
        if not session.wire.ends(session.timeouts.close):
            raise Broken(reply.text) from None
        session.wire.maybe_sent = 0
        raise


def _accept(flight: Flight, session: Session, reply: Reply) -> None:
    session.answered += 1
    flight.judge(ACCEPTED, reply.text)


def _fail(flight: Flight, session: Session, reply: Reply, stage: Stage) -> None:
    """End a flight by a refusal, unless the server only announces that it closes the connection."""
    verdict = _verdict(session, reply, stage)
    if reply.code == 421:
        raise ServerLeaves(reply.text, verdict)
    session.answered += 1
    flight.judge(verdict, reply.text)


def _is_confused(session: Session, reply: Reply, stage: Stage) -> bool:
    """Return whether a server that offered PIPELINING cannot handle several commands at once."""
    if b"pipelining" in reply.raw.lower():
        return True
    return reply.code // 10 == 50 and _verdict(session, reply, stage) == LATER_CONNECTION


def _verdict(session: Session, reply: Reply, stage: Stage) -> ReplyOutcome:
    if reply.code < 400:
        raise InvalidReply(NOT_SMTP)
    return session.judge(reply, stage)


def _reset(session: Session, behind: bytes = b"") -> None:
    """End the transaction. Where RSET is not known only a new connection does that."""
    session.wire.write(b"RSET\r\n" + behind, session.timeouts.command)
    reply = session.wire.reply(session.timeouts.command)
    if reply.code // 10 == 50:
        raise Broken(reply.text)
