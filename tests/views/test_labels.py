"""Labels shared by many pages."""

import pytest

from mailganer.errors import in_english
from mailganer.views.agents import agent_words

CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/130.0.0.0 Safari/537.36"
GMAIL = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (CHROME, "Chrome on Windows"),
        (CHROME + " Edg/130.0.0.0", "Edge on Windows"),
        (GMAIL, "Gmail image proxy"),
        (PHONE, "Apple Mail on iPhone"),
        ("Mozilla/5.0", "privacy proxy"),
        ("curl/8.5.0", "curl/8.5.0"),
        ("x" * 60, "other client"),
    ],
)
def test_a_program_has_its_usual_name(agent, words):
    assert in_english(agent_words(agent)) == words
