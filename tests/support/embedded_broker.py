"""The embedded broker, started with the command that ``mailganer serve`` uses."""

import shutil
import subprocess

import redis

from mailganer import broker
from mailganer.settings import Settings

from .ports import die_with_parent, wait_until
from .scratch import scratch


class EmbeddedBroker:
    def __init__(self) -> None:
        self.folder = scratch("mg-broker-")
        self._settings = Settings("sqlite://", "http://localhost", ("",), self.folder)
        self.url = broker.broker_url(self._settings)
        self._socket = broker.socket_path(self._settings)
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            broker.command(self._settings),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            preexec_fn=die_with_parent,
        )
        wait_until(self._answers, what="the embedded broker")

    def wipe(self) -> None:
        with redis.Redis(unix_socket_path=str(self._socket)) as client:
            client.flushall()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            with redis.Redis(unix_socket_path=str(self._socket)) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False
