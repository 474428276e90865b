"""Who fetched it: a person's mail program, something that may stand for a person, or a machine.

Told from the User-Agent alone, which anybody may write as they like. So the reports count in a range: what
certainly was a person, and what possibly was.
"""

import re
from collections.abc import Mapping
from functools import lru_cache

from ..models import Source

LONGEST = 200  # characters kept of a User-Agent
LONGEST_READ = 1000  # and looked at; anybody may send a quarter of a megabyte

# Fetches every picture as soon as an email arrives, for the owner of the mailbox who has not looked yet.
_GMAIL_PREFETCHER = re.compile(r"Chrome/42\.0\.2311\.135 Safari/537\.36 Edge/12\.246 Mozilla/5\.0$")

# Stand between a person and us, and fetch when the person looks.
_PROXIES = re.compile(r"GoogleImageProxy|YahooMailProxy", re.IGNORECASE)

# Scanners of mail gateways, previews of messengers, search engines. Each of these says its name.
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

# HTTP libraries and command-line clients, under the names they send unless told otherwise. A person's browser
# or mail program never does: what follows a link this way is a script or a gateway.
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

# Mail programs and browsers that a person looks at, and that do not hide behind a bare "Mozilla/5.0".
_PEOPLE = re.compile(
    r"^Mozilla/[45]\.0 \(|^Opera/|^Microsoft Office/|^Outlook|^Thunderbird/|^Mail/|CFNetwork/|^Dalvik/"
    r"|^Evolution|^KMail|^Airmail|^The Bat!|^eM Client"
)

# Browsers without a window: a test, an archive, a scanner; sometimes on behalf of somebody.
_UNATTENDED = re.compile(r"Headless|PhantomJS|Puppeteer|Playwright", re.IGNORECASE)


def who(agent: str) -> Source:
    """What kind of visitor says this User-Agent. Unknown programs are ``possible``: we cannot tell."""
    return _who(agent[:LONGEST_READ])


@lru_cache(maxsize=2000)  # in a rush most of them say the same; two megabytes at worst
def _who(agent: str) -> Source:
    if any(known.search(agent) for known in (_GMAIL_PREFETCHER, _MACHINES, _LIBRARIES)):
        return Source.machine
    if _PROXIES.search(agent):
        return Source.person
    if _UNATTENDED.search(agent) or not _PEOPLE.search(agent):
        return Source.possible
    return Source.person


def is_fetched_ahead(headers: Mapping[str, str]) -> bool:
    """Whether a browser or a proxy says that nobody has asked for the page yet.

    Sources: Fetch Metadata (``Sec-Purpose``), and what older browsers send.
    """
    said = (headers.get(name, "") for name in ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"))
    return any(re.search("prefetch|prerender|preview", value[:100], re.IGNORECASE) for value in said)


def kept(agent: str) -> str:
    """The User-Agent as it is stored: short, and without characters that do something."""
    if agent.isprintable():
        return agent[:LONGEST]
    return "".join(each for each in agent if each.isprintable())[:LONGEST]
