// Forms of a unit work without this file. It shows of each card what belongs to its choice, and the
// save bar only while something is unsaved, or was just saved.
"use strict";
(() => {
  function follow(form) {
    const refused = form.querySelector("[aria-invalid='true']") !== null;

    function sync() {
      for (const card of form.querySelectorAll("[data-inheritable]")) {
        const choice = card.querySelector(".segmented input:checked");
        const inherits = choice?.value === "inherit";
        for (const element of card.querySelectorAll("[data-while-inherited]")) {
          element.hidden = !inherits;
        }
        for (const element of card.querySelectorAll("[data-while-overridden]")) {
          element.hidden = inherits;
        }
        // What is disabled is not sent.
        card.querySelector("fieldset[data-while-overridden]").disabled = inherits;
      }
      const state = refused || isUnsaved() ? "unsaved" : "saved";
      for (const element of document.querySelectorAll("[data-shown-for]")) {
        element.hidden = !element.dataset.shownFor.split(" ").includes(state);
      }
    }

    function isUnsaved() {
      return [...form.elements].some((field) => {
        if (field.matches("fieldset, button, [type=hidden], :disabled")) return false;
        if (field.name === "reason") return false;
        if (field.matches("[type=radio], [type=checkbox]")) {
          return field.checked !== field.defaultChecked;
        }
        if (field.matches("select")) {
          return [...field.options].some((each) => each.selected !== each.defaultSelected);
        }
        return field.value !== field.defaultValue;
      });
    }

    form.addEventListener("input", (event) => {
      if (event.target.name !== "reason") {
        form.querySelector("[data-of-the-form-as-it-was]")?.remove();
      }
      sync();
    });
    // Going back, the browser puts the fields as they were left.
    window.addEventListener("pageshow", sync);
    sync();
  }

  document.addEventListener("DOMContentLoaded", () => {
    for (const form of document.querySelectorAll("[data-unit-form]")) follow(form);
  });
})();
