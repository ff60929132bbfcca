// Every page works without this file. It gives menus and panels the Escape key, brings the focus
// to the notice of a refused form or to the field that is due, shows the current tab and the focused
// one where the tabs are wider than the window, and sends a form once.
"use strict";

function focusRefusal(root) {
  root.querySelector("[data-focus]")?.focus();
}

// Only where it stands in the window: the page above it is not skipped.
function focusDueField() {
  if (document.querySelector("[data-focus]")) return;
  if (document.activeElement?.matches("input, select, textarea")) return;
  const field = document.querySelector("[data-due]");
  if (field && field.getBoundingClientRect().bottom <= innerHeight) field.focus();
}

function showTab(tab) {
  const tabs = tab?.closest(".tabs");
  if (tabs) tabs.scrollLeft = tab.offsetLeft - (tabs.clientWidth - tab.offsetWidth) / 2;
}

// Not for the mouse: what it presses would move away from under it.
function onFocus(event) {
  if (event.target.matches(".tabs a:focus-visible")) showTab(event.target);
}

function closeMenus(except) {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(except)) menu.open = false;
  }
}

function closePanel() {
  const panel = document.querySelector("[data-panel]:target");
  if (!panel) return;
  const opener = document.querySelector(`a[href="#${panel.id}"]`);
  location.hash = "content";
  opener?.focus();
}

function onEscape(event) {
  if (event.key !== "Escape") return;
  const menu = document.querySelector("details.menu[open]");
  if (!menu) return closePanel();
  menu.open = false;
  menu.querySelector("summary").focus();
}

function onPanelOpened() {
  document.querySelector("[data-panel]:target a")?.focus();
}

// A second click while the answer is on its way sends nothing twice; going back lifts that.
const sent = new Set();

function onSubmit(event) {
  if (sent.has(event.target)) return event.preventDefault();
  sent.add(event.target);
  setTimeout(() => sent.delete(event.target), 15_000);
}

// Back from the mail with the code, say: it can be typed at once.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) focusDueField();
});
document.addEventListener("submit", onSubmit);
window.addEventListener("pageshow", () => {
  sent.clear();
  focusDueField();
});
document.addEventListener("keydown", onEscape);
document.addEventListener("focusin", onFocus);
document.addEventListener("click", (event) => closeMenus(event.target));
window.addEventListener("hashchange", onPanelOpened);
document.addEventListener("DOMContentLoaded", () => {
  focusRefusal(document);
  showTab(document.querySelector(".tabs [aria-current]"));
});
document.addEventListener("htmx:afterSwap", (event) => focusRefusal(event.detail.target));
