"""Encrypt, decrypt and rotate stored mail passwords.

Fernet under keys derived from ``mailganer.secret_key``, newest first. The account's id is inside the
ciphertext, so a secret copied into another account's row cannot be decrypted there.
"""

import base64
import json
from collections.abc import Mapping

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .errors import SecretUnreadable, _


class Vault:
    """Encrypt and decrypt small mappings of secrets, for one account at a time."""

    def __init__(self, secret_keys: tuple[str, ...]) -> None:
        self._fernet = MultiFernet([Fernet(_derive(key)) for key in secret_keys])

    def encrypt(self, account_id: int, secrets: Mapping[str, str]) -> bytes:
        """Return ``secrets`` as ciphertext that can be decrypted only for ``account_id``."""
        return self._fernet.encrypt(json.dumps({"account": account_id, "secrets": dict(secrets)}).encode())

    def decrypt(self, account_id: int, ciphertext: bytes) -> dict[str, str]:
        """Return the mapping that was encrypted. Raise ``SecretUnreadable``."""
        try:
            content = json.loads(self._fernet.decrypt(ciphertext))
        except InvalidToken as error:
            raise SecretUnreadable(
                _(
                    "The stored password cannot be decrypted with the current secret key. Enter the "
                    "password again."
                )
            ) from error
        if content["account"] != account_id:
            raise SecretUnreadable(
                _("The stored password belongs to another account. Enter the password again.")
            )
        secrets: dict[str, str] = content["secrets"]
        return secrets

    def opens(self, account_id: int, ciphertext: bytes) -> bool:
        """Return whether one of the keys decrypts it for this account."""
        try:
            self.decrypt(account_id, ciphertext)
        except SecretUnreadable:
            return False
        return True

    def rotate(self, ciphertext: bytes) -> bytes:
        """Return the same content encrypted with the newest key. Raise ``SecretUnreadable``."""
        try:
            return self._fernet.rotate(ciphertext)
        except InvalidToken as error:
            raise SecretUnreadable(
                _("A stored password cannot be decrypted with any of the secret keys.")
            ) from error


def key_id(secret_key: str) -> str:
    """Return 16 hex digits that identify a secret key and reveal nothing about it."""
    return _bytes_of(secret_key, b"mailganer key id", 8).hex()


def _derive(key: str) -> bytes:
    return base64.urlsafe_b64encode(_bytes_of(key, b"mailganer vault", 32))


def _bytes_of(key: str, purpose: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length=length, salt=None, info=purpose).derive(key.encode())
