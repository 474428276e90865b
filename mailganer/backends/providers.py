"""SMTP servers of well-known mail providers, by the domain of an address. From their own help pages.

Only a convenience for the form and for warnings: nothing is trusted because it is listed here, and the user
may change every value.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Provider:
    """The SMTP server of a mailbox provider."""

    host: str
    port: int = 465
    security: str = "tls"
    per_day: int | None = None  # recipients, where the provider publishes a number
    passwords_at: str = ""  # where the owner creates an app password


_YANDEX = "https://id.yandex.ru/security/app-passwords"
_MAILRU = "https://account.mail.ru/user/2-step-auth/passwords"
_YAHOO = "https://login.yahoo.com/account/security"

_MAIL_RU = Provider("smtp.mail.ru", passwords_at=_MAILRU)
_YANDEX_RU = Provider("smtp.yandex.ru", per_day=500, passwords_at=_YANDEX)
_OUTLOOK = Provider("smtp-mail.outlook.com", 587, "starttls", 300)
_ICLOUD = Provider("smtp.mail.me.com", 587, "starttls", 1000, "https://account.apple.com/account/manage")
_YAHOO_COM = Provider("smtp.mail.yahoo.com", per_day=500, passwords_at=_YAHOO)
_ZOHO = Provider("smtp.zoho.com", passwords_at="https://accounts.zoho.com/home#security/app_password")
_FASTMAIL = Provider("smtp.fastmail.com", passwords_at="https://app.fastmail.com/settings/security/apps")
_GMX_NET = Provider("mail.gmx.net", 587, "starttls")
_GMX_COM = Provider("mail.gmx.com", 587, "starttls")
_PROTON = Provider(
    "smtp.protonmail.ch", 587, "starttls", passwords_at="https://account.proton.me/mail/imap-smtp"
)

PROVIDERS: dict[str, Provider] = {
    **dict.fromkeys(("mail.ru", "bk.ru", "inbox.ru", "list.ru", "internet.ru", "xmail.ru"), _MAIL_RU),
    **dict.fromkeys(("yandex.ru", "ya.ru", "yandex.by", "yandex.kz", "yandex.ua", "narod.ru"), _YANDEX_RU),
    "yandex.com": Provider("smtp.yandex.com", per_day=500, passwords_at=_YANDEX),
    **dict.fromkeys(
        ("rambler.ru", "lenta.ru", "autorambler.ru", "myrambler.ru", "ro.ru", "rambler.ua"),
        Provider("smtp.rambler.ru"),
    ),
    "ukr.net": Provider("smtp.ukr.net"),
    **dict.fromkeys(
        ("outlook.com", "hotmail.com", "live.com", "msn.com", "outlook.de", "hotmail.de"), _OUTLOOK
    ),
    **dict.fromkeys(("icloud.com", "me.com", "mac.com"), _ICLOUD),
    **dict.fromkeys(
        ("yahoo.com", "yahoo.de", "yahoo.fr", "yahoo.co.uk", "ymail.com", "rocketmail.com"), _YAHOO_COM
    ),
    "aol.com": Provider("smtp.aol.com", per_day=500, passwords_at="https://login.aol.com/account/security"),
    **dict.fromkeys(("zoho.com", "zohomail.com"), _ZOHO),
    **dict.fromkeys(("zoho.eu", "zohomail.eu"), Provider("smtp.zoho.eu")),
    **dict.fromkeys(("fastmail.com", "fastmail.fm"), _FASTMAIL),
    **dict.fromkeys(("gmx.net", "gmx.de", "gmx.at", "gmx.ch"), _GMX_NET),
    **dict.fromkeys(("gmx.com", "mail.com"), _GMX_COM),
    "web.de": Provider("smtp.web.de", 587, "starttls"),
    "t-online.de": Provider("securesmtp.t-online.de"),
    "posteo.de": Provider("posteo.de"),
    "mailbox.org": Provider("smtp.mailbox.org"),
    "runbox.com": Provider("mail.runbox.com"),
    **dict.fromkeys(("proton.me", "protonmail.com", "pm.me"), _PROTON),
    "seznam.cz": Provider("smtp.seznam.cz"),
    "orange.fr": Provider("smtp.orange.fr"),
    "free.fr": Provider("smtp.free.fr"),
    "laposte.net": Provider("smtp.laposte.net"),
    "libero.it": Provider("smtp.libero.it"),
    "wp.pl": Provider("smtp.wp.pl"),
    "o2.pl": Provider("poczta.o2.pl"),
    "qq.com": Provider("smtp.qq.com"),
    "163.com": Provider("smtp.163.com"),
    "126.com": Provider("smtp.126.com"),
    "naver.com": Provider("smtp.naver.com"),
}

_GMAIL = Provider("smtp.gmail.com", 587, "starttls", 500, "https://myaccount.google.com/apppasswords")

# Companies' own domains at these providers are recognised by the name of the server.
_HOSTS = {provider.host: provider for provider in PROVIDERS.values()} | {
    "smtp.gmail.com": _GMAIL,
    "smtp.office365.com": Provider("smtp.office365.com", 587, "starttls", 10_000),
}


def provider_of_domain(domain: str) -> Provider | None:
    """Return the provider of addresses at this domain, if it is well known."""
    return PROVIDERS.get(domain.lower())


def provider_of_host(host: str) -> Provider | None:
    """Return the mailbox provider of a server, if it is well known."""
    return _HOSTS.get(host.lower())


# Domains of one provider whose servers are also named under the provider's other domains.
_PROVIDER_DOMAINS = (
    {"gmail.com", "googlemail.com", "google.com"},
    {"yandex.ru", "ya.ru", "yandex.com", "yandex.net"},
    {"outlook.com", "hotmail.com", "live.com", "office365.com"},
)


def is_unrelated_host(domain: str, host: str) -> bool:
    """Return whether a server does not belong to the provider of addresses at this domain.

    DMARC makes recipients refuse emails sent through such a server. False for domains that are not well
    known.
    """
    name, server = domain.lower(), host.lower()
    provider = _GMAIL if name in _PROVIDER_DOMAINS[0] else provider_of_domain(name)
    if provider is None:
        return False
    names = {name, ".".join(provider.host.split(".")[-2:])}
    names |= {other for group in _PROVIDER_DOMAINS if group & names for other in group}
    return not any(server == each or server.endswith(f".{each}") for each in names)
