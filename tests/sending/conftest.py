"""Whatever is sent in these tests, the ledger's counts are those of its rows afterwards."""

import pytest


@pytest.fixture(autouse=True)
def _counts_agree(counts_agree: None) -> None:
    """After every test."""
