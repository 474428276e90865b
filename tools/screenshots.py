"""Screenshots of every page in every variant: ``python -m tools.screenshots FOLDER [--only NAME]``.

A variant is language, width and scheme: ``ru-390-dark``. Screenshots are in a folder per variant, and
problems found automatically are printed: pages that scroll sideways, texts that are cut off, findings of
axe-core. A reviewer has to judge whether a page is clear.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from tests.journeys.accessibility import serious_findings
from tests.support.browser import chromium
from tests.support.looking import cut_off, sideways
from tests.support.showroom import LANGUAGES, Showroom, Stop, open_showroom

HEIGHTS = {"1280": 900, "390": 844}
SCHEMES = ("light", "dark")
VARIANTS = tuple("-".join(variant) for variant in product(LANGUAGES, HEIGHTS, SCHEMES))


def main(arguments: list[str]) -> int:
    """Return 1 if there are problems, else 0."""
    options = _options().parse_args(arguments)
    faults = 0
    with tempfile.TemporaryDirectory() as folder, open_showroom(Path(folder)) as room, chromium() as browser:
        for variant in options.variant or VARIANTS:
            for fault in screenshots(room, browser, variant, options):
                faults += 1
                print(f"{variant} {fault}", flush=True)
    return 1 if faults else 0


def screenshots(room: Showroom, browser: Any, variant: str, options: argparse.Namespace) -> Iterator[str]:
    """Take the screenshots of one variant; yield the problems."""
    language, width, scheme = variant.split("-")
    folder = options.folder / variant
    folder.mkdir(parents=True, exist_ok=True)
    room.forget_tries()
    pages: dict[str, Any] = {}
    for stop in room.stops(language):
        if options.only and not any(part in stop.name for part in options.only):
            continue
        if stop.who not in pages:
            viewport = {"width": int(width), "height": HEIGHTS[width]}
            pages[stop.who] = room.visit(browser, stop.who, language, viewport=viewport, color_scheme=scheme)
        yield from _look_at(room, pages[stop.who], stop, folder, quick=options.quick)
    for page in pages.values():
        page.context.close()


def _look_at(room: Showroom, page: Any, stop: Stop, folder: Path, *, quick: bool) -> Iterator[str]:
    try:
        page.goto(room.home + stop.path)
        if stop.act:
            stop.act(page)
        _wait_for_emails(page)
        page.screenshot(path=folder / f"{stop.name}.png", full_page=True)
    except Exception as error:
        yield f"{stop.name}: {error}"
        return
    if stop.foreign:
        return
    for fault in (*sideways(page), *cut_off(page), *([] if quick else serious_findings(page))):
        yield f"{stop.name}: {fault}"


def _wait_for_emails(page: Any) -> None:
    """Load lazy frames by scrolling to them; they are drawn a little later than the page."""
    if page.locator("iframe").count():
        page.evaluate("document.querySelectorAll('iframe').forEach(frame => frame.loading = 'eager')")
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(200)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.screenshots", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quick", action="store_true", help="without axe-core")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="pages with this in their name")
    parser.add_argument(
        "--variant", nargs="+", default=[], choices=VARIANTS, metavar="VARIANT", help=", ".join(VARIANTS)
    )
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
