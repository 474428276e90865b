"""Actions that bring a page into the state of its screenshot."""

from collections.abc import Callable
from typing import Any

Act = Callable[[Any], None]


def click(selector: str) -> Act:
    """Return an action that clicks what the selector finds; it opens no new page or follows a link."""

    def act(page: Any) -> None:
        page.locator(selector).first.click()
        page.wait_for_load_state("load")

    return act


def fill(within: str = "main form[method=post]", **fields: Any) -> Act:
    """Return an action that fills a form in and submits it without the browser's own validation."""

    def act(page: Any) -> None:
        form = page.locator(within).first
        form.evaluate(
            "form => { form.noValidate = true; form.querySelectorAll('details').forEach(e => e.open = true) }"
        )
        for name, value in fields.items():
            field = form.locator(f"[name={name}]").first
            if field.evaluate("field => field.tagName") == "SELECT":
                field.select_option(str(value))
            else:
                field.fill(str(value))
        submit(page, f"{within} button[type=submit]")

    return act


def submit(page: Any, selector: str) -> None:
    with page.expect_navigation():
        page.locator(selector).last.click()
