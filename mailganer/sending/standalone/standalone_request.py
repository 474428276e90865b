"""What a standalone campaign sends, and the digest that identifies it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class StandaloneRequest:
    """What to send, to whom, and from which address."""

    from_name: str
    from_email: str
    subject: str
    html: str
    text: str
    recipients_file: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    skip_bad_rows: bool = False

    @cached_property
    def digest(self) -> str:
        """A digest that identifies the campaign; any change to its emails or recipients changes it."""
        words = [
            self.from_name,
            self.from_email,
            self.subject,
            self.html,
            self.text,
            sorted(self.variables.items()),
        ]
        digest = hashlib.sha256(json.dumps(words).encode())
        with self.recipients_file.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
        return digest.hexdigest()
