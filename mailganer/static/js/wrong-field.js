// After a form came back with errors, the keyboard starts where they are listed.
document.querySelector(".alert[role=alert][tabindex]")?.focus({ preventScroll: false });
