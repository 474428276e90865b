"""Parts of one installation with different settings: the doctor and /healthz report them."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from mailganer import data_folder
from mailganer.broker import REFUSES_WRITES
from mailganer.cli import doctor
from mailganer.cli.common import database, make_data_folder
from mailganer.db import utcnow
from mailganer.errors import SettingsError
from mailganer.models import BEAT_ID, Heartbeat
from mailganer.sending.context import open_sending_context
from mailganer.sending.scheduler.tick import note_beat, tick
from mailganer.settings import load
from mailganer.vault import Vault

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
OTHER_KEY = "f" * 64


def look(settings: Any, part: str) -> list[str]:
    """Return the doctor's problems in one part."""
    return [sentence for well, sentence in dict(doctor.CHECKS)[part](settings) if not well]


def run_worker(settings: Any) -> None:
    """Run one tick of a worker with these settings."""
    context = open_sending_context(settings)
    tick(context)
    context.engine.dispose()


def test_workers_with_the_same_folder_and_key_are_well(settings: Any, session: Session, app: Any) -> None:
    run_worker(settings)
    assert look(settings, "workers") == []
    assert app.get("/healthz", status=200).json["worker"] == "ok"


def test_a_worker_with_another_data_folder_is_noticed(
    settings: Any, session: Session, app: Any, tmp_path: Path
) -> None:
    run_worker(replace(settings, data_dir=tmp_path / "elsewhere"))
    (sentence,) = look(settings, "workers")
    assert "another data folder" in sentence
    assert "data folder" in app.get("/healthz", status=503).json["worker"]


def test_a_worker_with_another_secret_key_is_noticed(settings: Any, session: Session, app: Any) -> None:
    run_worker(replace(settings, secret_keys=(OTHER_KEY,)))
    (sentence,) = look(settings, "workers")
    assert "another secret key" in sentence
    assert "secret key" in app.get("/healthz", status=503).json["worker"]
    assert OTHER_KEY not in sentence


def test_a_key_that_is_being_replaced_is_no_other_key(settings: Any, session: Session) -> None:
    run_worker(settings)
    assert look(replace(settings, secret_keys=(OTHER_KEY, *settings.secret_keys)), "workers") == []


def test_a_second_beat_is_noticed(settings: Any, session: Session) -> None:
    context = open_sending_context(settings)
    tick(context)
    for beat_id, problems in ((2, 0), (3, 1)):
        note_beat(context, beat_id)
        assert len(look(settings, "workers")) == problems
    context.engine.dispose()
    session.execute(update(Heartbeat).values(seen_at=utcnow() - timedelta(seconds=60)))
    session.commit()
    assert look(settings, "workers") == []


def test_a_beat_that_was_restarted_is_not_a_second_one(settings: Any, session: Session) -> None:
    context = open_sending_context(settings)
    tick(context)
    note_beat(context, 2)
    last_tick = utcnow() - timedelta(seconds=8)
    session.execute(update(Heartbeat).where(Heartbeat.name == f"{BEAT_ID}2").values(seen_at=last_tick))
    session.commit()
    note_beat(context, 3)
    context.engine.dispose()
    assert look(settings, "workers") == []


def test_stored_passwords_of_another_secret_key_are_counted(
    settings: Any, session: Session, make: Any, account: Any
) -> None:
    readable, lost = make.sender(account), make.sender(account)
    readable.secrets = Vault(settings.secret_keys).encrypt(account.id, {"password": "one"})
    lost.secrets = Vault((OTHER_KEY,)).encrypt(account.id, {"password": "two"})
    session.commit()
    (sentence,) = look(settings, "passwords")
    assert sentence.startswith("1 of 2 stored mail passwords")
    assert look(replace(settings, secret_keys=(*settings.secret_keys, OTHER_KEY)), "passwords") == []


@pytest.mark.parametrize(
    ("stored", "sentence"),
    [
        (0, "No mail password is stored."),
        (1, "The stored mail password can be read."),
        (2, "All 2 stored mail passwords can be read."),
    ],
)
def test_readable_passwords_are_counted_in_the_right_form(
    settings: Any, session: Session, make: Any, account: Any, stored: int, sentence: str
) -> None:
    for _each in range(stored):
        make.sender(account).secrets = Vault(settings.secret_keys).encrypt(account.id, {"password": "one"})
    session.commit()
    assert list(dict(doctor.CHECKS)["passwords"](settings)) == [(True, sentence)]


def test_a_broker_that_is_away_is_one_sentence_with_one_full_stop(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor.broker, "trouble", lambda _url: "Error 111. Connection refused.")
    other = replace(settings, broker_url="redis://127.0.0.1:1/0")
    assert look(other, "broker") == [
        "It does not respond: Error 111. Connection refused. Check celery.broker_url (CELERY_BROKER_URL)."
    ]


def test_a_broker_that_refuses_writes_is_reported(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.broker, "trouble", lambda _url: f"{REFUSES_WRITES}: read only")
    (said,) = look(replace(settings, broker_url="redis://127.0.0.1:1/0"), "broker")
    assert said == "It refuses writes: read only. It may be a replica, or its memory may be full."


def test_a_full_disk_is_in_healthz(app: Any, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    session.add_all([Heartbeat(name=name, seen_at=utcnow()) for name in ("beat", "worker here:1")])
    session.commit()
    assert app.get("/healthz", status=200).json["disk"] == "ok"
    monkeypatch.setattr(data_folder, "NO_ROOM", 2**63)
    answer = app.get("/healthz", status=503).json
    assert answer["down"] == ["disk"]
    assert "no room" in answer["disk"]


def test_the_id_of_a_folder_stays_and_differs_from_others(settings: Any, tmp_path: Path) -> None:
    first = data_folder.folder_id(settings)
    assert first == data_folder.folder_id(settings)
    assert first != data_folder.folder_id(replace(settings, data_dir=tmp_path / "elsewhere"))
    assert data_folder.folder_id(replace(settings, data_dir=Path("/dev/null/none"))) == ""


@pytest.fixture
def trees(tmp_path: Path) -> Any:
    """The paths of everything below a folder, to see what was created."""
    return lambda: sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))


@pytest.mark.parametrize("path", ["none/here/x.sqlite", "x.sqlite"])
def test_the_doctor_creates_nothing_for_misspelt_paths(
    tmp_path: Path, trees: Any, ini_values: dict[str, str], monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    ini, file = tmp_path / "x.ini", tmp_path / path
    changed = {
        "sqlalchemy.url": f"sqlite:///{file}",
        "mailganer.data_dir": str(tmp_path / "vra"),
        "mailganer.development": "true",
        "mailganer.secret_key": "",
    }
    lines = [f"{key} = {value.replace('%', '%%')}" for key, value in (ini_values | changed).items()]
    ini.write_text("\n".join(["[app:main]", *lines]))
    monkeypatch.setenv("MAILGANER_INI", str(ini))
    before = trees()
    found = {finding.part: finding for finding in doctor.examine(str(ini)) if not finding.well}
    assert found["database"].sentence.startswith(f"There is no database file {file}")
    assert ("nor its folder" in found["database"].sentence) is ("/" in path)
    assert trees() == before
    with pytest.raises(SettingsError, match="There is no database file"), database(load(ini, create=False)):
        pass
    assert trees() == before


def test_an_empty_data_folder_is_another_one_than_a_workers_and_stays_empty(
    settings: Any, session: Session, tmp_path: Path
) -> None:
    run_worker(settings)
    empty = tmp_path / "empty"
    empty.mkdir()
    (sentence,) = look(replace(settings, data_dir=empty), "workers")
    assert "another data folder" in sentence
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        ("/proc/x", "/proc holds no files."),
        ("/dev/null/x/y", "/dev/null is not a folder."),
    ],
)
def test_a_data_folder_that_cannot_be_created_is_not_called_full(
    settings: Any, folder: str, reason: str
) -> None:
    elsewhere = replace(settings, data_dir=Path(folder))
    (sentence,) = look(elsewhere, "disk")
    assert sentence.startswith(f"The data folder {folder} cannot be created: {reason}")
    assert "MAILGANER_DATA_DIR" in sentence
    with pytest.raises(SettingsError, match=f"The data folder {folder} cannot be created: N"):
        make_data_folder(elsewhere)


def test_a_file_in_place_of_the_data_folder_is_named(settings: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (sentence,) = look(replace(settings, data_dir=tmp_path / "file"), "disk")
    assert sentence.startswith(f"{tmp_path / 'file'} is not a folder.")
