// The gateway card works without this file. It disables the checkbox while the unit inherits, and
// shows what belongs to the choice as it stands: each element with data-shown-for names the states
// it shows for, "saved" being the one where nothing is unsaved.
"use strict";
(() => {
  function follow(form) {
    const { allowed, choice, starts_at: startsAt } = form.elements;
    let own = allowed.checked;

    const inherits = () => choice?.value === "inherit";

    function lockCheckbox() {
      if (inherits() === allowed.disabled) return;
      if (inherits()) own = allowed.checked;
      allowed.disabled = inherits();
      allowed.checked = inherits() ? form.dataset.inherited === "on" : own;
    }

    function showWhatBelongs() {
      const chosen = inherits() ? "inherit" : allowed.checked ? "on" : "off";
      const unsaved = chosen !== form.dataset.saved || startsAt.value !== "";
      const state = unsaved ? chosen : "saved";
      for (const element of document.querySelectorAll("[data-shown-for]")) {
        element.hidden = !element.dataset.shownFor.split(" ").includes(state);
      }
      for (const element of form.querySelectorAll("[data-while-inherited]")) {
        element.hidden = !inherits();
      }
    }

    function sync() {
      lockCheckbox();
      showWhatBelongs();
    }

    form.addEventListener("change", sync);
    // Going back, the browser puts the fields as they were left, but for disabled ones and not
    // before this file ran: so the checkbox is not locked before the page shows.
    window.addEventListener("pageshow", sync);
    showWhatBelongs();
  }

  document.addEventListener("DOMContentLoaded", () => {
    for (const form of document.querySelectorAll("[data-gateway]")) follow(form);
  });
})();
