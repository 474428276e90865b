"""A small IMAP server over TLS: enough of RFC 3501 to search Sent Mail, and several faults."""

from __future__ import annotations

import base64
import contextlib
import re
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field


@dataclass
class IMAPServer:
    tls: ssl.SSLContext
    passwords: dict[str, str]
    # Folder -> (flags, the Message-IDs in it), named as the server quotes them.
    folders: dict[str, tuple[str, set[str]]] = field(default_factory=dict)
    go_silent_at: str = ""  # a command that is never answered
    drip_at: str = ""  # a command that is answered a byte at a time, endlessly
    refuse: str = ""  # a command that gets NO
    refusal: str = "not now"  # and its text

    def __post_init__(self) -> None:
        self.commands: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        for sock in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _address = self._listener.accept()
            except OSError:
                return
            self._open.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), self.tls.wrap_socket(sock, server_side=True) as secure:
            self._open.append(secure)
            self._talk(secure)

    def _talk(self, sock: ssl.SSLSocket) -> None:
        lines = sock.makefile("rb")
        if not self._trouble("GREETING", sock):
            sock.sendall(b"* OK IMAP4rev1 ready\r\n")
        selected: set[str] = set()
        for raw in lines:
            tag, command, rest = (raw.decode().rstrip("\r\n") + "  ").split(" ", 2)
            rest = rest.strip()
            command = command.upper()
            self.commands.append(f"{command} {rest}".strip())
            if self._trouble(command, sock):
                continue
            if command == self.refuse:
                sock.sendall(f"{tag} NO {self.refusal}\r\n".encode())
                continue
            untagged, result = "", "OK done"
            if command == "CAPABILITY":
                untagged = "* CAPABILITY IMAP4rev1 SPECIAL-USE AUTH=XOAUTH2\r\n"
            elif command == "LOGIN":
                user, password = re.findall(r'"([^"]*)"|(\S+)', rest)
                known = self.passwords.get(user[0] or user[1]) == (password[0] or password[1])
                result = "OK in" if known else "NO [AUTHENTICATIONFAILED] wrong"
            elif command == "AUTHENTICATE":
                sock.sendall(b"+ \r\n")
                user, token = base64.b64decode(lines.readline()).decode().rstrip("\x01").split("\x01")
                known = self.passwords.get(user.removeprefix("user=")) == token.removeprefix("auth=Bearer ")
                result = "OK in" if known else "NO wrong"
            elif command == "LIST":
                untagged = "".join(
                    f'* LIST ({flags}) "/" {name}\r\n' for name, (flags, _held) in self.folders.items()
                )
            elif command in ("SELECT", "EXAMINE"):
                if rest in self.folders:
                    selected = self.folders[rest][1]
                    untagged, result = f"* {len(selected)} EXISTS\r\n", "OK [READ-ONLY] open"
                else:
                    result = "NO no such folder"
            elif command == "SEARCH":
                wanted = rest.rpartition(" ")[2].strip('"')
                numbers = [str(number) for number, held in enumerate(sorted(selected), 1) if held == wanted]
                untagged = f"* SEARCH {' '.join(numbers)}".rstrip() + "\r\n"
            elif command == "LOGOUT":
                sock.sendall(f"* BYE\r\n{tag} OK bye\r\n".encode())
                return
            sock.sendall(f"{untagged}{tag} {result}\r\n".encode())

    def _trouble(self, command: str, sock: ssl.SSLSocket) -> bool:
        if command == self.drip_at:
            for _second in range(200):
                sock.sendall(b"*")
                time.sleep(0.1)
        return command in (self.go_silent_at, self.drip_at)
