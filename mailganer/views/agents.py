"""What a browser or a mail program calls itself, as people call it."""

from mailganer.errors import _

# The first that fits: newer names are written behind the older ones they pretend to be.
_PROXIES = (
    ("GoogleImageProxy", _("Gmail's picture proxy")),
    ("YahooMailProxy", _("Yahoo's picture proxy")),
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
_SHORT = 40  # characters of a name that nobody has to translate


def agent_words(agent: str) -> str:
    """A short name for ``agent``: "Chrome on Windows"; what is short already stays as it is."""
    proxy = _first(_PROXIES, agent)
    if proxy:
        return proxy
    if agent == "Mozilla/5.0":  # all that Apple's proxy says, and others like it
        return _("a privacy proxy")
    program, system = _first(_PROGRAMS, agent), _first(_SYSTEMS, agent)
    if program and system:
        return _("${program} on ${system}", mapping={"program": program, "system": system})
    return program or (agent if len(agent) <= _SHORT else _("another program"))


def _first(names: tuple[tuple[str, str], ...], agent: str) -> str:
    return next((name for sign, name in names if sign in agent), "")
