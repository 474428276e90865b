import pytest

from mailganer.models import EventSource
from mailganer.tracking.user_agents import classify, is_fetched_ahead, kept

BROWSERS = (
    # Gmail fetches through its proxy when the recipient opens the email.
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
    "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html",
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Mobile/15E148",
    "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; Microsoft Outlook 16.0.17328; ms-office)",
    "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.17328; Pro)",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Linux; Android 9; CUBOT NOTE 7) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/119.0.0.0 Mobile Safari/537.36",
    # A real browser of that age, not the prefetcher.
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/42.0.2311.135 "
    "Safari/537.36 Edge/12.246",
)
POSSIBLE = (
    "Mozilla/5.0",  # Apple's privacy proxy
    "",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "HeadlessChrome/126.0.0.0 Safari/537.36",
)
MACHINES = (
    # Gmail fetches this as soon as an email arrives.
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/42.0.2311.135 "
    "Safari/537.36 Edge/12.246 Mozilla/5.0",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 (Windows NT 6.1) BingPreview/1.0b",
    "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "TelegramBot (like TwitterBot)",
    "WhatsApp/2.23.20.0",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "Mozilla/5.0 (compatible; Mail.RU_Bot/2.0)",
    "BarracudaCentral/1.0",
    "Mozilla/5.0 (compatible; Proofpoint URL Defense)",
    "Mozilla/5.0 (compatible; CloudmarkAuthority)",
    "FortiGuard",
    "Hornetsecurity",
    "VadeSecure/1.0",
    "Microsoft Office Existence Discovery",
    "Mozilla/5.0 (compatible; vkShare; +http://vk.com/dev/Share)",
    "Mozilla/5.0 (Linux; Android 11) AppleWebKit/537.36 Chrome/119 Mobile Safari/537.36 Chrome-Lighthouse",
)
LIBRARIES = (
    "python-requests/2.32",
    "curl/8.9",
    "Wget/1.24.5",
    "Python-urllib/3.12",
    "Python/3.11 aiohttp/3.9.5",
    "python-httpx/0.27.0",
    "Go-http-client/1.1",
    "Java/17.0.9",
    "Apache-HttpClient/4.5.14 (Java/17.0.9)",
    "okhttp/4.12.0",
    "Java-http-client/17.0.1",
    "Java1.6.0_34",
    "Jakarta Commons-HttpClient/3.1",
    "Ktor client",
    "nodejs/18",
    "request/2.88",
    "Deno",
    "excon/0.99",
    "Mojolicious (Perl)",
    "Mozilla/4.0 (compatible; Win32; WinHttp.WinHttpRequest.5)",
    "axios/1.7.2",
    "node-fetch/1.0 (+https://github.com/bitinn/node-fetch)",
    "node",
    "undici",
    "got (https://github.com/sindresorhus/got)",
    "libwww-perl/6.67",
    "Ruby",
    "Faraday v2.9.0",
    "PHP/8.2.1",
    "GuzzleHttp/7",
    "Dart/3.4 (dart:io)",
    "PostmanRuntime/7.39.0",
    "Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.19041.4522",
)


@pytest.mark.parametrize("agent", BROWSERS)
def test_a_mail_program_or_a_proxy_that_fetches_when_one_looks_is_a_person(agent):
    assert classify(agent) is EventSource.person


@pytest.mark.parametrize("agent", POSSIBLE)
def test_what_hides_who_it_stands_for_is_possibly_a_person(agent):
    assert classify(agent) is EventSource.possible


@pytest.mark.parametrize("agent", MACHINES)
def test_prefetchers_scanners_and_previews_are_machines(agent):
    assert classify(agent) is EventSource.machine


@pytest.mark.parametrize("agent", LIBRARIES)
def test_http_libraries_are_machines(agent):
    assert classify(agent) is EventSource.machine


def test_an_agent_is_kept_short_and_without_characters_that_do_something():
    assert kept("a\r\nb\x00\x1b[31m" + "x" * 500) == ("ab[31m" + "x" * 500)[:200]


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Purpose": "prefetch;prerender"},
        {"Purpose": "prefetch"},
        {"X-Purpose": "preview"},
        {"X-Moz": "Prefetch"},
    ],
)
def test_what_a_browser_fetches_ahead_says_so(headers):
    assert is_fetched_ahead(headers)
    assert not is_fetched_ahead({"Purpose": "", "Sec-Fetch-Mode": "navigate"})
