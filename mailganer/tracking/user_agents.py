"""Classification of user agents: a human's email app, a machine, or possibly either.

The only source is the User-Agent header, which any client can set as it likes. So reports show a range:
certain and possible opens.
"""

import re
from collections.abc import Mapping
from functools import lru_cache

from ..models import EventSource

LONGEST = 200  # characters stored of a User-Agent
LONGEST_READ = 1000  # characters examined; a client may send a quarter of a megabyte

# Fetches every image as soon as an email arrives, before the owner of the mailbox has opened it.
_GMAIL_PREFETCHER = re.compile(r"Chrome/42\.0\.2311\.135 Safari/537\.36 Edge/12\.246 Mozilla/5\.0$")

# Fetch on behalf of a human when the email is opened.
_PROXIES = re.compile(r"GoogleImageProxy|YahooMailProxy", re.IGNORECASE)

# Scanners of mail gateways, link previews of messengers, search engines. Each of these sends its name.
_MACHINES = re.compile(
    r"(?<!cu)bot\b|(?<!cu)bot/|crawl|spider|slurp|scanner|preview|prefetch|facebookexternalhit|whatsapp/|feedfetcher"
    r"|barracuda|mimecast|proofpoint|urldefense|ironport|symantec|messagelabs|fireeye|trellix|trendmicro"
    r"|forcepoint|websense|sophos|bitdefender|kaspersky|drweb|\beset\b|zscaler|paloalto|safelinks"
    r"|google-safety|google-pagerenderer|mediapartners|expanse|censys|nmap|zgrab|masscan"
    r"|cloudmark|fortiguard|fortimail|vade ?secure|hornetsecurity|retarus|spamtitan|netskope|ironscales"
    r"|abnormal ?security|check ?point|cofense|phishme|virustotal|urlscan|ciscotalos|microsoft defender"
    r"|google-inspectiontool|google-read-aloud|apis-google|lighthouse|vkshare|iframely|embedly|unfurl"
    r"|linkcheck|w3c_validator|pingdom|statuscake|existence discovery|protocol discovery|webdav-miniredir"
    r"|microsoft-cryptoapi|microsoft bits|getodin\.com",
    re.IGNORECASE,
)

# HTTP libraries and command-line clients, under their default names. A human's browser or email app never
# uses these: the request comes from a script or a gateway.
_LIBRARIES = re.compile(
    r"^(?:curl|libcurl|wget|wget2|aria2|httpie|xh|lynx|axel)\b"
    r"|python-requests|python-urllib|python-httpx|python/3|aiohttp|urllib3|pycurl|scrapy|^httpx/|^treq"
    r"|go-http-client|fasthttp|go-resty|^colly|^req/"
    r"|^java[/\d-]|jakarta commons|apache-httpclient|apache-httpasyncclient|^apache cxf|^okhttp"
    r"|^ktor|^jersey/|^ahc/|^unirest|^vert\.x|reactornetty"
    r"|^axios|node-fetch|^node(?:\.?js)?(?:$|[/ ])|^undici|^(?:got|ky|phin|needle|request|fetch)(?:$|[/ ])"
    r"|^superagent|node-superagent|^(?:deno|bun|k6|hey|ab|resty)(?:$|[/ ])|^cloudflare-workers"
    r"|libwww-perl|^lwp|www-mechanize|^mechanize|^ruby|^faraday|^rest-client|^excon|^curb/|^httparty"
    r"|^perl|mojolicious|^http\.rb|^typhoeus"
    r"|^php|^guzzle|^symfony httpclient|^zend|^laminas|^http_request2|^snoopy|^wordpress/"
    r"|^reqwest|^hyper/|^ureq|^dart/|^restsharp|^flurl|winhttp|^msxml|windowspowershell|powershell/|^\.net"
    r"|postmanruntime|^insomnia|^apachebench|^(?:http-?client|alamofire)(?:$|[/ ])|^isahc|^lua-resty"
    r"|^cpp-httplib|^libsoup|^hackney|^mint/",
    re.IGNORECASE,
)

# Mail clients and browsers used by humans that send more than a bare "Mozilla/5.0".
_HUMAN_CLIENTS = re.compile(
    r"^Mozilla/[45]\.0 \(|^Opera/|^Microsoft Office/|^Outlook|^Thunderbird/|^Mail/|CFNetwork/|^Dalvik/"
    r"|^Evolution|^KMail|^Airmail|^The Bat!|^eM Client"
)

# Headless browsers: tests, archives, scanners; sometimes on behalf of a human.
_UNATTENDED = re.compile(r"Headless|PhantomJS|Puppeteer|Playwright", re.IGNORECASE)


def classify(agent: str) -> EventSource:
    """Classify a User-Agent. Unknown programs are ``possible``."""
    return _classify(agent[:LONGEST_READ])


@lru_cache(maxsize=2000)  # during a peak most user agents are the same; two megabytes at worst
def _classify(agent: str) -> EventSource:
    if any(known.search(agent) for known in (_GMAIL_PREFETCHER, _MACHINES, _LIBRARIES)):
        return EventSource.machine
    if _PROXIES.search(agent):
        return EventSource.person
    if _UNATTENDED.search(agent) or not _HUMAN_CLIENTS.search(agent):
        return EventSource.possible
    return EventSource.person


PURPOSES = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")
"""Headers that show a prefetch."""


def is_fetched_ahead(headers: Mapping[str, str]) -> bool:
    """Return whether the headers show a prefetch, by a browser or proxy, that no user has requested.

    Sources: Fetch Metadata (``Sec-Purpose``), and the headers of older browsers.
    """
    found = (headers.get(name) for name in PURPOSES)
    return any(_AHEAD.search(value[:100]) for value in found if value)


_AHEAD = re.compile("prefetch|prerender|preview", re.IGNORECASE)


def kept(agent: str) -> str:
    """Return the User-Agent as it is stored: shortened, without control characters."""
    if agent.isprintable():
        return agent[:LONGEST]
    return "".join(each for each in agent if each.isprintable())[:LONGEST]
