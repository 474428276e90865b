"""Readable names of browsers and email apps."""

from mailganer.errors import _

# The first match counts: newer programs also contain the names of the older ones they imitate.
_PROXIES = (
    ("GoogleImageProxy", _("Gmail image proxy")),
    ("YahooMailProxy", _("Yahoo image proxy")),
)
_PROGRAMS = (
    ("Thunderbird/", "Thunderbird"),
    ("Microsoft Outlook", "Outlook"),
    ("MSOffice", "Outlook"),
    ("YaBrowser/", "Yandex Browser"),
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("AppleWebKit/", "Apple Mail"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)
_SHORT = 40  # characters; names up to this length are shown unchanged


def agent_words(agent: str) -> str:
    """Return a short name for ``agent``: "Chrome on Windows"; short ones are unchanged."""
    proxy = _first(_PROXIES, agent)
    if proxy:
        return proxy
    if agent == "Mozilla/5.0":  # all that Apple's proxy and others like it send
        return _("privacy proxy")
    program, system = _first(_PROGRAMS, agent), _first(_SYSTEMS, agent)
    if program and system:
        return _("${program} on ${system}", mapping={"program": program, "system": system})
    return program or (agent if len(agent) <= _SHORT else _("other client"))


def _first(names: tuple[tuple[str, str], ...], agent: str) -> str:
    return next((name for sign, name in names if sign in agent), "")
