"""Renderer of messages: compiled once per email version and sender, used for one recipient after another.

The fast path costs a few dozen microseconds: a part is a ``CompiledBody`` whose constant text is already
quoted-printable, values are encoded as they are inserted, and joining the pieces gives the message. A
template that stores or transforms rendered text (macros, filter and set blocks) would see the encoded pieces,
so such a part is rendered as text first and encoded as a whole. Both paths decode to the same email.
"""

import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.runtime import Context
from markupsafe import escape

from . import headers, quoted_printable, render_process, sandbox, sandbox_operations
from .address_runs import GIVEN_LINKS
from .compiled_body import CompiledBody
from .engine import Engine, recipient_links
from .render_budget import RenderBudget, budget_of
from .rendered_links import OtherRecipients
from .sandbox import CompiledTemplate, Sandbox
from .types import CompiledEmail, Envelope, RecipientHeaders

# "=_" cannot occur in quoted-printable or base64 text.
_BOUNDARY = "=_mailganer"
_END = f"--{_BOUNDARY}--\r\n".encode("ascii")


class _PiecesCode(CodeGenerator):
    """Generates a template whose constants are encoded and whose values go through ``environment.put``."""

    def _output_const_repr(self, group: Any) -> str:
        return repr(_constant("".join(group)))

    def _output_child_to_const(self, node: nodes.Expr, frame: Frame, finalize: Any) -> str:
        if not isinstance(node, nodes.TemplateData):
            raise nodes.Impossible
        return node.data

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        self.write("environment.put_computed(context, ")

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        self.write(")")


def _constant(text: str) -> bytes:
    return quoted_printable.encode(text).encode("ascii")


class Pieces(Sandbox):
    """Environment of the fast path: renders pieces of quoted-printable text."""

    code_generator_class = _PiecesCode

    def __init__(self, *, html: bool, known: dict[str, bytes]) -> None:
        """Create the environment.

        ``known`` caches pieces of values that are the same in HTML and in text, so both bodies share it.
        """
        super().__init__(html=html)
        self.known = known
        self._escape = escape if html else str

    def put(self, value: Any) -> bytes:
        """Return a value as an encoded piece, cached: names and cities repeat, links are in both bodies."""
        if type(value) is not str:
            return _constant(str(self._escape(sandbox_operations.plain(value))))
        piece = self.known.get(value)
        return self.put_text(value) if piece is None else piece

    def put_computed(self, context: Context, value: Any) -> bytes:
        """Return a computed value as an encoded piece, charged to the budget as ``finalize`` does."""
        if type(value) is not str:
            value = sandbox_operations.finalize(context, value)
            return _constant(str(self._escape(value)))
        budget_of(context).charge_output(len(value))
        return self.put(value)

    def put_text(self, value: str) -> bytes:
        if _PLAIN.fullmatch(value):
            piece = value.encode("ascii") + b"=\r\n"
        else:
            piece = _constant(str(self._escape(sandbox_operations.clean(value))))
            if len(value) > _LONGEST_KNOWN or _ESCAPED.search(value):
                return piece
        if len(self.known) >= _MOST_KNOWN:
            self.known.clear()
        self.known[value] = piece
        return piece


# Values that are their own encoding: one short line without "=", without a dot at its start and without
# characters that HTML escapes.
_PLAIN = re.compile(r"(?!\.)[ !#-%(-;?-~]{1,75}")
_ESCAPED = re.compile("[&<>\"']")
_MOST_KNOWN = 4096
_LONGEST_KNOWN = 100


class _Part:
    """One of the two bodies: its MIME headers, and its rendering path."""

    def __init__(
        self, subtype: str, plain: CompiledTemplate, environment: Pieces, *, apart: bool = False
    ) -> None:
        """Compile a part. ``apart``: no other part of the email shows the same text without tags."""
        self._plain = plain
        self._body = None if plain.captures else _body(plain, environment)
        self._is_examined_whole = apart and self._body is not None and self._body.prints_values
        self._is_examined = self._is_examined_whole or (self._body is not None and self._body.has_runs)
        self._in_html = subtype == "html"
        self._head = _head_of(subtype, "quoted-printable")
        self._head_of_base64 = _head_of(subtype, "base64")

    def pieces(
        self, values: Mapping[str, object], run: RenderBudget, others: OtherRecipients, *, suspect: bool
    ) -> Iterable[bytes]:
        """Return the part for one recipient. ``suspect``: a value has a link of another recipient."""
        if self._body is None:
            text = self._plain.render(values, run)
            if others.found or others.has_link_in_part(text):
                others.found = True
                text = others.replaced(text, in_html=self._in_html)
            return self._as_base64(text)
        pieces = self._body.pieces(values, run)
        if suspect or others.found or (self._is_examined and self._has_link(self._body, pieces, others)):
            others.found = True
            text = _text_of(b"".join(pieces))
            return self._as_base64(others.replaced(text, in_html=self._in_html))
        return (self._head, *pieces, b"\r\n")

    def _has_link(self, body: CompiledBody[bytes], pieces: Sequence[bytes], others: OtherRecipients) -> bool:
        runs = (b"".join(pieces),) if self._is_examined_whole else body.runs(pieces)
        return any(others.has_link_in_piece(each, _text_of) for each in runs)

    def _as_base64(self, text: str) -> Iterable[bytes]:
        return (self._head_of_base64, _base64(text), b"\r\n")


def _head_of(subtype: str, encoding: str) -> bytes:
    return (
        f'--{_BOUNDARY}\r\nContent-Type: text/{subtype}; charset="utf-8"\r\n'
        f"Content-Transfer-Encoding: {encoding}\r\n\r\n"
    ).encode("ascii")


def _text_of(pieces: bytes) -> str:
    return binascii.a2b_qp(pieces).decode("utf-8", "replace").replace("\r\n", "\n")


def _body(plain: CompiledTemplate, environment: Pieces) -> CompiledBody[bytes]:
    return CompiledBody(
        plain.source,
        plain.field,
        environment,
        constant=_constant,
        put=environment.put,
        known=environment.known,
        put_text=environment.put_text,
    )


def _base64(text: str) -> bytes:
    code = binascii.b2a_base64(text.replace("\n", "\r\n").encode(), newline=False)
    return b"".join([code[at : at + 76] + b"\r\n" for at in range(0, len(code), 76)])


class MessageRenderer:
    """Renders copies of an email for its recipients. Not thread-safe."""

    def __init__(self, email: CompiledEmail, envelope: Envelope) -> None:
        """Compile the email. Raises ``EmailError`` when email or envelope fails for every recipient."""
        render_process.require_no_transaction()
        engine = Engine(
            email,
            footer=envelope.footer,
            tracked=envelope.track_clicks,
            opens=envelope.track_opens,
            postal_address=envelope.postal_address,
        )
        self._locale = envelope.locale
        self._values = engine.values
        self._names = sorted({name.split(".")[0] for name in email.variables} - GIVEN_LINKS)
        self._subject = CompiledBody(
            email.subject, "subject", sandbox.TEXT, constant=str, put=sandbox_operations.plain
        )
        known: dict[str, bytes] = {}
        self._parts = [_Part("plain", engine.text, Pieces(html=False, known=known))]
        if engine.html:
            self._parts.append(
                _Part("html", engine.html, Pieces(html=True, known=known), apart=email.own_text)
            )
        # One-click unsubscribing needs a web address; without a web server, recipients unsubscribe by
        # replying.
        self._by_click = _Head(envelope, one_click=True)
        self._by_mail = _Head(envelope, one_click=False)

    def render(self, copy: RecipientHeaders) -> bytes:
        """Return a whole message (RFC 5322) with CRLF line ends, in which no line begins with a dot.

        Raises ``EmailError`` for this copy only.
        """
        run = RenderBudget(self._locale)
        values = self._values.of({**copy.values, **recipient_links(copy.urls)}, run)
        head = self._by_mail if copy.urls.unsubscribe.startswith("mailto:") else self._by_click
        others = OtherRecipients(copy.urls)
        subject = "".join(self._subject.pieces(values, run))
        if others.has_link(subject):
            subject = others.replaced(subject, clickable=False)
        suspect = others.has_link_in(map(values.get, self._names))
        pieces = [*head.render(copy, subject), b"\r\n"]
        for part in self._parts:
            pieces += part.pieces(values, run, others, suspect=suspect)
        pieces.append(_END)
        return b"".join(pieces)


class _Head:
    """The headers of a message. Those that are the same for all recipients are encoded once."""

    def __init__(self, envelope: Envelope, *, one_click: bool) -> None:
        before = [("From", headers.mailbox(envelope.from_name, headers.address(envelope.from_email)))]
        if envelope.reply_to:
            before.append(("Reply-To", headers.address(envelope.reply_to)))
        after = [("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")] if one_click else []
        if envelope.list_id:
            after.append(("List-Id", headers.list_id(envelope.list_name, envelope.list_id)))
        after.append(("Precedence", "bulk"))
        after += [headers.added(name, value) for name, value in envelope.extra_headers]
        after += [("MIME-Version", "1.0"), ("Content-Type", f'multipart/alternative; boundary="{_BOUNDARY}"')]
        own = ("To", "Subject", "Date", "Message-ID", "List-Unsubscribe")
        self._before, self._after = _lines(before), _lines(after)
        self._header_pattern = headers.header_pattern(own)

    def render(self, copy: RecipientHeaders, subject: str) -> tuple[bytes, bytes, bytes]:
        """Return all header lines. Raises ``EmailError`` for a header that must not be sent."""
        own = (
            f"To: {headers.mailbox(copy.name, headers.recipient(copy.email))}\r\n"
            f"Subject: {headers.text_value(subject)}\r\n"
            f"Date: {headers.date_value(copy.date)}\r\n"
            f"Message-ID: {headers.message_id(copy.message_id)}\r\n"
            f"List-Unsubscribe: {headers.unsubscribe(copy.urls.unsubscribe)}\r\n"
        ).encode()  # ASCII, except for the local part of an address that needs SMTPUTF8
        headers.require_headers(own, self._header_pattern)
        return self._before, own, self._after


def _lines(fields: Sequence[tuple[str, str]]) -> bytes:
    """Return constant header lines, checked like each recipient's own."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields).encode("ascii")
    headers.require_headers(lines, headers.header_pattern([name for name, _value in fields]))
    return lines
