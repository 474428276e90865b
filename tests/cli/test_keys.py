"""Rolling rotation of the secret key: every machine reads what any other writes."""

from typing import Any

import pytest
from sqlalchemy import select

from mailganer import cli
from mailganer.errors import SecretUnreadable
from mailganer.models import Sender
from mailganer.vault import Vault
from mailganer.web.sessions import RotatingSerializer

OLD, NEW = "old-" * 10, "new-" * 10
STEPS = [(OLD,), (OLD, NEW), (NEW, OLD), (NEW,)]


@pytest.mark.parametrize("step", range(1, 4))
def test_while_half_of_the_machines_are_a_step_ahead_they_read_each_other(step: int) -> None:
    behind, ahead = STEPS[step - 1], STEPS[step]
    for writes, reads in ((behind, ahead), (ahead, behind)):
        if step == 3 and writes == behind:
            assert writes[0] == NEW  # nothing is written with the old key any more
        secrets = Vault(writes).encrypt(7, {"password": "p"})
        assert Vault(reads).decrypt(7, secrets) == {"password": "p"}
        cookie = RotatingSerializer(writes).dumps({"account": 7})
        assert RotatingSerializer(reads).loads(cookie) == {"account": 7}


def test_stored_passwords_are_encrypted_anew_and_need_the_old_key_no_more(
    ini: Any,
    make: Any,
    session: Any,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MAILGANER_INI", str(ini))
    account, (old,) = make.account(), settings.secret_keys
    secrets = {
        "anna@example.com": Vault((old,)).encrypt(account.id, {"password": "a"}),
        "boris@example.com": Vault((NEW,)).encrypt(account.id, {"password": "b"}),
        "lost@example.com": Vault((OLD,)).encrypt(account.id, {"password": "l"}),
    }
    for email, each in secrets.items():
        make.sender(account, from_email=email).secrets = each
    session.commit()
    ini.write_text(ini.read_text().replace(old, f"{NEW} {old}"))
    assert cli.run(["rotate-key", str(ini)]) == 0
    said = capsys.readouterr().out
    assert "Stored passwords encrypted with the first secret key: 1." in said
    assert "The password of lost@example.com cannot be decrypted" in said
    session.expire_all()
    kept = {row.from_email: row.secrets for row in session.scalars(select(Sender))}
    assert Vault((NEW,)).decrypt(account.id, kept["anna@example.com"]) == {"password": "a"}
    assert kept["boris@example.com"] == secrets["boris@example.com"]
    with pytest.raises(SecretUnreadable):
        Vault((old,)).decrypt(account.id, kept["anna@example.com"])
