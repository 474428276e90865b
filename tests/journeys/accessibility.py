"""axe-core on a page: barriers for users of a screen reader or a keyboard, or with low vision."""

from pathlib import Path
from typing import Any

AXE = (Path(__file__).parents[1] / "support/vendor/axe-core-4.14.1.min.js").read_text()
SERIOUS = {"serious", "critical"}


def serious_findings(page: Any) -> list[str]:
    """Return the serious and critical findings of axe-core, a line each, with their element.

    It runs isolated from the page's scripts, so that the page's policy need not be weakened.
    """
    session = page.context.new_cdp_session(page)
    frame = session.send("Page.getFrameTree")["frameTree"]["frame"]["id"]
    world = session.send("Page.createIsolatedWorld", {"frameId": frame, "worldName": "axe"})

    def evaluate(expression: str) -> Any:
        answer = session.send(
            "Runtime.evaluate",
            {
                "expression": expression,
                "contextId": world["executionContextId"],
                "awaitPromise": True,
                "returnByValue": True,
            },
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    evaluate(AXE + "; true")
    # An email in a frame is the user's content, not ours.
    options = "{iframes: false, resultTypes: ['violations']}"
    violations = evaluate(f"axe.run(document, {options}).then(found => found.violations)")
    session.detach()
    return [
        f"{page.url}: {each['id']}: {each['help']}: {node['html'][:200]}"
        for each in violations
        if each["impact"] in SERIOUS
        for node in each["nodes"]
    ]
