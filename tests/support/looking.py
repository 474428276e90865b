"""Layout checks of a page: whether it scrolls sideways, and which texts are cut off."""

from typing import Any

# Shortened on purpose: the full text is elsewhere on the page, or one click away.
SHORTENED = (
    ".who-address, .campaign-subject, .gallery-subject, .gallery-picture, .email-paper, .inbox-row *,"
    " .chooser-who *, .step-note"
)

_SIDEWAYS = """() => {
  const root = document.documentElement;
  const wide = root.scrollWidth - root.clientWidth;
  return wide > 1 ? [`scrolls sideways by ${wide} px`] : [];
}"""

# A box that hides or scrolls what does not fit. Code and emails may: the user chose their lines.
_CUT_OFF = """(shortened) => {
  const found = [];
  for (const box of document.querySelectorAll("body *")) {
    if (box.matches("pre, pre *, textarea, input, select, option, iframe, svg, svg *, .unseen")) continue;
    if (box.matches(shortened)) continue;
    const style = getComputedStyle(box);
    if (style.overflowX === "visible" || style.display === "inline" || style.clipPath !== "none") continue;
    if (!box.getClientRects().length || box.scrollWidth <= box.clientWidth + 1) continue;
    found.push(`cut off: ${box.className || box.tagName}: ${box.innerText.trim().slice(0, 60)}`);
  }
  return found;
}"""


def sideways(page: Any) -> list[str]:
    return list(page.evaluate(_SIDEWAYS))


def cut_off(page: Any) -> list[str]:
    return list(page.evaluate(_CUT_OFF, SHORTENED))
