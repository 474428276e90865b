"""Words that many pages need."""

import pytest

from mailganer.errors import in_english
from mailganer.views.agents import agent_words
from mailganer.views.words import answer_apart, breakable

CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/130.0.0.0 Safari/537.36"
GMAIL = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (CHROME, "Chrome on Windows"),
        (CHROME + " Edg/130.0.0.0", "Edge on Windows"),
        (GMAIL, "Gmail's picture proxy"),
        (PHONE, "Apple Mail on iPhone"),
        ("Mozilla/5.0", "a privacy proxy"),
        ("curl/8.5.0", "curl/8.5.0"),
        ("x" * 60, "another program"),
    ],
)
def test_a_program_is_named_as_people_name_it(agent, words):
    assert in_english(agent_words(agent)) == words


def test_a_servers_answer_is_set_apart_from_our_sentence():
    ours = "The server does not accept this login and password."
    assert answer_apart(f"{ours} 535 5.7.8 Error: authentication failed") == (
        ours,
        "535 5.7.8 Error: authentication failed",
    )
    assert answer_apart("It waits. 500 letters have left.")[1] == ""
    assert answer_apart(ours) == (ours, "")


def test_a_long_address_breaks_behind_its_signs_and_a_short_one_nowhere():
    assert breakable("anna@example.org") == "anna@example.org"
    assert breakable("a.name-that-is-long@mail.example.org") == (
        "a.<wbr>name-that-is-long@<wbr>mail.<wbr>example.<wbr>org"
    )
    assert "<script>" not in breakable("<script>@" + "x" * 40)
