"""Statistics of PostgreSQL's tables after an import."""

from typing import Any

import pytest
from sqlalchemy import text

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def test_postgresql_knows_how_many_were_imported(bringer: Any) -> None:
    bringer.bring("email\n" + "".join(f"reader{n}@example.org\n" for n in range(300)))
    assert (known(bringer, "subscriber"), known(bringer, "list_member")) == (300, 300)


def test_a_few_more_are_no_reason_to_look_again(bringer: Any) -> None:
    bringer.bring("email\n" + "".join(f"reader{n}@example.org\n" for n in range(300)))
    bringer.bring("email\none.more@example.org\n")
    assert known(bringer, "subscriber") == 300


def known(bringer: Any, table: str) -> int:
    with bringer.sessions() as session:
        return session.scalar(text("SELECT reltuples FROM pg_class WHERE relname = :table"), {"table": table})
