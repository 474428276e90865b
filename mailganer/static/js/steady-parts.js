// What htmx replaces keeps the state a user gave it: an open fold stays open, a part that did not change is not
// replaced, and a part that is asked for again and again waits while a button in it is pressed.
const folds = (part) => (part.matches("details") ? [part] : [...part.querySelectorAll("details")]);
const nameOf = (fold) => fold.querySelector("summary")?.textContent.trim();

const keepOpen = (old, fresh) => {
  const touched = new Map(folds(old).map((fold) => [nameOf(fold), fold.open]));
  for (const fold of folds(fresh)) if (touched.has(nameOf(fold))) fold.open = touched.get(nameOf(fold));
};

document.body.addEventListener("htmx:oobBeforeSwap", (event) => {
  const old = event.detail.target;
  const fresh = event.detail.fragment.firstElementChild;
  if (!fresh || old.id !== fresh.id) return;
  keepOpen(old, fresh);
  if (old.isEqualNode(fresh)) event.detail.shouldSwap = false;
});

let replaced = null;
document.body.addEventListener("htmx:beforeSwap", (event) => {
  const old = event.detail.target;
  const isAskedAgain = old.getAttribute("hx-trigger")?.startsWith("every ");
  // Swapped between press and release, the button would lose the click; the next answer is near.
  if (isAskedAgain && old.matches(":active")) event.detail.shouldSwap = false;
  replaced = old;
});
document.body.addEventListener("htmx:afterSwap", (event) => {
  const fresh = replaced?.id && document.getElementById(replaced.id);
  if (fresh && event.target === fresh) keepOpen(replaced, fresh);
});
