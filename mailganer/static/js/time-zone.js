// Fills in the time zone of this computer, so that users need not look for it in a list.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
for (const field of document.querySelectorAll("input[type=hidden][name=timezone]")) field.value = zone ?? "";
