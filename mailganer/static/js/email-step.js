// The email's editor: Tab indents, variables go in where the cursor is, the inbox row follows the typing and
// the preview follows each save. Without this the page saves by its button and shows the saved email.
const editors = document.querySelectorAll("[data-editor]");
let last = document.querySelector("#html");

for (const editor of editors) {
  editor.addEventListener("focus", () => (last = editor));
  editor.addEventListener("keydown", (event) => {
    // Escape, then Tab leaves the field: the keyboard is never caught.
    if (event.key === "Escape") editor.dataset.leaving = "yes";
    else if (event.key === "Tab" && !event.shiftKey && !editor.dataset.leaving) {
      event.preventDefault();
      editor.setRangeText("  ", editor.selectionStart, editor.selectionEnd, "end");
      editor.dispatchEvent(new Event("input", { bubbles: true }));
    } else if (event.key !== "Shift") delete editor.dataset.leaving;
  });
}
for (const line of document.querySelectorAll("#subject, #preheader")) {
  line.addEventListener("focus", () => (last = line));
  line.addEventListener("input", () => {
    const place = document.getElementById(line.dataset.shownIn);
    if (place) place.textContent = line.value;
  });
}

document.addEventListener("click", (event) => {
  const chip = event.target.closest("[data-insert]");
  if (!chip || !last) return;
  last.setRangeText(chip.dataset.insert, last.selectionStart, last.selectionEnd, "end");
  last.focus();
  last.dispatchEvent(new Event("input", { bubbles: true }));
});

// What was saved is shown: the frame is asked for again, at the same place.
document.body.addEventListener("htmx:afterSettle", (event) => {
  if (event.detail.target?.id !== "saved" && event.detail.elt?.id !== "saved") return;
  const frame = document.querySelector("#email-frame");
  const saved = document.querySelector("#saved");
  if (!frame || !saved) return;
  const address = new URL(frame.src);
  if (address.searchParams.get("r") === saved.dataset.revision) return;
  address.searchParams.set("r", saved.dataset.revision);
  frame.src = address;
});

// A refused save answers with the reason; htmx would throw it away.
document.body.addEventListener("htmx:beforeSwap", (event) => {
  if ([409, 422].includes(event.detail.xhr.status)) {
    event.detail.shouldSwap = true;
    event.detail.isError = false;
  }
});
