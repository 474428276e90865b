"""A Dovecot server for tests, with its configuration, mail and sockets in a temporary folder."""

import getpass
import grp
import os
import pwd
import shutil
import socket
import subprocess
from pathlib import Path

from .ports import die_with_parent, free_port, wait_until
from .scratch import scratch

_MISSING = "a test needs Dovecot: apt-get install dovecot-imapd (make test does it for root)"
_CONFIGURATION = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap
listen = 127.0.0.1
default_login_user = {login_user}
default_internal_user = {internal_user}
default_internal_group = {internal_group}
first_valid_uid = 1
ssl = required
ssl_cert = <{certificate}
ssl_key = <{certificate}
mail_location = maildir:{folder}/mail/%u
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/home/%u
}}
namespace inbox {{
  inbox = yes
  mailbox "Отправленные" {{
    auto = create
    special_use = \\Sent
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {port}
  }}
}}
service anvil {{
  chroot =
}}
"""


class Dovecot:
    """IMAP over TLS with one password for every login. ``certificate`` is a PEM file with its key in it."""

    def __init__(self, certificate: Path, password: str) -> None:
        program = shutil.which("dovecot", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            raise RuntimeError(_MISSING)
        self.folder = scratch("mg-imap-")
        self.port = free_port()
        me, root = getpass.getuser(), os.geteuid() == 0
        user = pwd.getpwnam("nobody") if root else pwd.getpwuid(os.geteuid())
        for name in ("run", "state", "mail", "home"):
            (self.folder / name).mkdir()
            os.chown(self.folder / name, user.pw_uid, user.pw_gid)
        self.folder.chmod(0o755)
        configuration = self.folder / "dovecot.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                folder=self.folder,
                login_user="dovenull" if root else me,
                internal_user="dovecot" if root else me,
                internal_group="dovecot" if root else grp.getgrgid(os.getegid()).gr_name,
                certificate=certificate,
                password=password,
                uid=user.pw_uid,
                gid=user.pw_gid,
                port=self.port,
            )
        )
        self._process = subprocess.Popen(
            [program, "-F", "-c", str(configuration)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            preexec_fn=die_with_parent,
        )

        wait_until(self._listens, what="Dovecot", timeout=20)

    def _listens(self) -> bool:
        if self._process.poll() is not None:
            raise AssertionError(f"Dovecot does not start:\n{self.log()}")
        try:
            socket.create_connection(("127.0.0.1", self.port), 2).close()
        except OSError:
            return False
        return True

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)
