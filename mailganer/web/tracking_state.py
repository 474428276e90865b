"""What a web process keeps for recipients: buffers, writers, versions of emails."""

from pyramid.registry import Registry

from mailganer.tracking import (
    BrowserViews,
    GroupWriter,
    OpenBuffer,
    SentVersions,
    click_writer,
    look,
    unsubscribe_together,
)

from .email_pages import PrerenderedPages


def prepare_tracking(registry: Registry) -> None:
    """Give the application what it keeps for recipients: buffers, writers, and versions of emails."""
    registry["opens"] = OpenBuffer(lambda: registry["sessions"])
    registry["versions"] = SentVersions(lambda: registry["readers"], registry["settings"].public_url)
    # While one group is committed the next one is prepared. SQLite has one writer at a time.
    threads = 2 if registry["engine"].dialect.name == "postgresql" else 1
    registry["clicks"] = click_writer(
        lambda: registry["sessions"], registry["opens"], registry["versions"], threads
    )
    registry["unsubscribes"] = GroupWriter("unsubscribes", lambda: registry["sessions"], unsubscribe_together)
    registry["looks"] = GroupWriter("looks", lambda: registry["readers"], look, threads=threads, reading=True)
    registry["views"] = BrowserViews(
        registry["readers"], registry["versions"], registry["settings"].public_url
    )
    registry["prerendered_pages"] = PrerenderedPages()
