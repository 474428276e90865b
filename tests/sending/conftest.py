"""After every test of sending, the ledger's counts match its rows."""

import pytest


@pytest.fixture(autouse=True)
def _counts_agree(counts_agree: None) -> None:
    """Run after every test."""
