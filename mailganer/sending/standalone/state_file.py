"""The state file of a standalone campaign: created, locked, migrated and deleted here."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from ...backends import Backend, Registry
from ...db import make_engine
from ...errors import Conflict, _
from ...migrations import current, migrate, newest
from ...models import Account, Campaign
from .standalone_campaign import StandaloneCampaign
from .standalone_request import StandaloneRequest


@contextmanager
def open_standalone_campaign(
    state: Path, request: StandaloneRequest, backend: Backend, registry: Registry
) -> Iterator[StandaloneCampaign]:
    """Open the campaign of a state file, creating the file if it does not exist.

    Raise ``Conflict`` while another process uses it.
    """
    folder = state_folder(state)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                _("Another “mailganer send” is already using ${state}.", mapping={"state": str(state)})
            ) from error
        engine = make_engine(f"sqlite:///{state}")
        try:
            if current(engine) != newest():
                migrate(engine)
            _delete_incomplete_start(engine)
            yield StandaloneCampaign(engine, folder, request, backend, registry)
        finally:
            engine.dispose()


def _delete_incomplete_start(engine: Engine) -> None:
    """Delete the account when a run was killed before it created a campaign: nothing was sent by it."""
    with Session(engine) as session:
        if session.scalar(select(Campaign.id)) is None:
            for account in session.scalars(select(Account)):
                session.delete(account)
            session.commit()


def state_folder(state: Path) -> Path:
    """Return the directory beside a state file that holds journals and the copied list."""
    return state.with_name(state.name + ".d")


def remove_state(state: Path) -> None:
    """Delete a campaign's state file and its directory."""
    for path in (state, *(state.with_name(state.name + end) for end in ("-wal", "-shm"))):
        path.unlink(missing_ok=True)
    shutil.rmtree(state_folder(state), ignore_errors=True)
