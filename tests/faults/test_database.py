"""A database that fails at the worst time: around a COMMIT."""

from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from tests.sending.scripted import Script


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("nth", range(1, 8))
def test_a_commit_whose_answer_is_lost_loses_no_email_and_sends_none_twice(
    due: Any, open_works: Any, script: Script, statuses: Any, nth: int, when: str
) -> None:
    works = open_works(script=script)
    campaign = due(12)
    works.tick()  # planned; the lane comes with the next
    engine = works.context.engine
    right, error = engine.dialect.do_commit, engine.dialect.loaded_dbapi.OperationalError
    commits = 0

    def do_commit(connection: Any) -> None:
        nonlocal commits
        commits += 1
        if commits == nth and when == "before":
            raise error("the connection was lost")
        right(connection)
        if commits == nth:
            raise error("the connection was lost")

    engine.dialect.do_commit = do_commit
    for _each in range(6):
        with suppress(OperationalError):  # a tick may fail: the next repairs it
            works.tick()
    assert commits >= nth
    assert statuses(campaign.id) == {"sent": 12}
    assert set(script.got.values()) == {1}
