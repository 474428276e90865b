"""The application with data in every state, and a list of all its pages, for screenshots.

Nothing changes here: there is no worker, so a campaign that is sending stays as it is.
Everything exists in both languages, because subscribers, lists and emails are part of a page's look.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import select
from webtest import TestApp

from mailganer import audience, main
from mailganer.db import make_engine
from mailganer.migrations import migrate
from mailganer.models import Import, ImportStatus
from mailganer.web import RateLimiter

from ..ports import free_port
from ..smtp import SMTPServer
from ..web import served
from .furniture import FREE_A_DAY, FREE_PEOPLE
from .pages import Pages, Stop

SECRET = "0123456789abcdef" * 4
LOCALES = {"en": "en-GB", "ru": "ru-RU"}
LANGUAGES = tuple(LOCALES)


class Showroom:
    """The application behind a real web server."""

    def __init__(self, app: Any, home: str, server: SMTPServer) -> None:
        self.app, self.home, self.server = app, home, server
        self.registry = app.registry
        self.settings = app.registry["settings"]
        self._stops: dict[str, list[Stop]] = {}
        self._cookies: dict[tuple[str, str], dict[str, str]] = {}

    def stops(self, language: str) -> list[Stop]:
        """Return every page in this language."""
        if language not in self._stops:
            self._stops[language] = list(Pages(self, language).stops())
        return self._stops[language]

    def visit(self, browser: Any, who: str, language: str, **options: Any) -> Any:
        """Return a browser's page for a signed-in user, or signed out if ``who`` is ""."""
        self.stops(language)
        context = browser.new_context(locale=LOCALES[language], timezone_id="Europe/Moscow", **options)
        cookies = self.cookies(who, language)
        context.add_cookies(
            [{"name": name, "value": value, "url": self.home} for name, value in cookies.items()]
        )
        page = context.new_page()
        page.set_default_timeout(60_000)
        return page

    def cookies(self, who: str, language: str) -> dict[str, str]:
        """Return the cookies of a signed-in user; none if ``who`` is ""."""
        return self._cookies.get((who, language), {})

    def enter(self, who: str, language: str) -> str:
        """Sign in an address that the mail server knows; return it."""
        email = f"{who}@{language}.example.com"
        self.server.passwords[email] = "secret"
        client = TestApp(self.app, extra_environ={"HTTP_HOST": self.home.removeprefix("http://")})
        form = client.get("/sign-in", {"email": email}, headers={"Accept-Language": language}).forms[0]
        form["host"], form["port"], form["security"] = self.server.host, self.server.port, "none"
        form["password"], form["timezone"] = (
            "secret",
            "Europe/Moscow" if language == "ru" else "Europe/London",
        )
        form.submit(status=303, headers={"Accept-Language": language})
        self._cookies[who, language] = dict(client.cookies)
        return email

    def forget_tries(self) -> None:
        """Reset the rate limits of sign-in."""
        self.registry["throttle"] = RateLimiter("")

    def work_on_files(self) -> None:
        """Run the worker's part of imports."""
        with self.registry["sessions"]() as session:
            waiting = session.scalars(select(Import.id).where(Import.status == ImportStatus.reading)).all()
        for each in waiting:
            audience.run_import(self.registry["sessions"], self.settings, each)


@contextmanager
def open_showroom(folder: Path) -> Iterator[Showroom]:
    """Open it on a new database in ``folder``."""
    port, server = free_port(), SMTPServer()
    url = f"sqlite:///{folder / 'showroom.sqlite'}"
    engine = make_engine(url)
    migrate(engine)
    engine.dispose()
    app = main({}, **_ini(folder, url, f"http://127.0.0.1:{port}"))
    try:
        with served(app, port) as home:
            yield Showroom(app, home, server)
    finally:
        app.registry["opens"].close()
        app.registry["engine"].dispose()
        server.stop()


def _ini(folder: Path, database_url: str, home: str) -> dict[str, str]:
    return {
        "sqlalchemy.url": database_url,
        "celery.broker_url": f"redis://127.0.0.1:{free_port()}/0",  # nothing listens, so no task runs
        "mailganer.secret_key": SECRET,
        "mailganer.public_url": home,
        "mailganer.backends": "gmail smtp maildir",
        "mailganer.backend.maildir.folder": str(folder / "maildir"),
        "mailganer.allow_private_smtp_hosts": "true",
        "mailganer.development": "true",
        "mailganer.demo": "true",
        "mailganer.data_dir": str(folder / "var"),
        "mailganer.plans": "free pro studio",
        "mailganer.plan.free.title": "Free",
        "mailganer.plan.free.per_day": str(FREE_A_DAY),
        "mailganer.plan.free.max_subscribers": str(FREE_PEOPLE),
        "mailganer.plan.pro.title": "Pro",
        "mailganer.plan.pro.per_day": "10000",
        "mailganer.plan.pro.max_subscribers": "50000",
        "mailganer.plan.pro.price": "1,900 ₽ a month",
        "mailganer.plan.pro.price.ru": "1 900 ₽ в месяц",
        "mailganer.plan.studio.title": "Studio",
        "mailganer.plan.studio.price": "9,900 ₽ a month",
        "mailganer.plan.studio.price.ru": "9 900 ₽ в месяц",
    }
