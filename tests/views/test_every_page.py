"""Every page in every state, on a phone and in the language with the longer words.

``python -m tools.screenshots`` takes screenshots of the same pages.
"""

from pathlib import Path
from typing import Any

import pytest

from ..support.looking import cut_off, sideways
from ..support.showroom import open_showroom

PHONE = {"width": 390, "height": 844}


@pytest.mark.timeout(600)
def test_no_page_scrolls_sideways_or_cuts_words_off_on_a_phone(browser: Any, tmp_path: Path) -> None:
    faults, pages = [], {}
    with open_showroom(tmp_path) as room:
        for stop in room.stops("ru"):
            if stop.foreign or stop.act:  # results of forms are for screenshots only: they take long
                continue
            if stop.who not in pages:
                pages[stop.who] = room.visit(browser, stop.who, "ru", viewport=PHONE)
            page = pages[stop.who]
            page.goto(room.home + stop.path)
            faults += [f"{stop.name}: {fault}" for fault in (*sideways(page), *cut_off(page))]
        for page in pages.values():
            page.context.close()
    assert len(pages) == 4  # accounts with everything, with nothing, with a used-up plan, and signed out
    assert faults == []
