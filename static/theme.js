// "As the system": where the server writes data-bs-theme="auto" or nothing (Django's own pages),
// this turns it into light or dark before the page is drawn, and again whenever the system changes.
"use strict";
(() => {
  const root = document.documentElement;
  if ((root.dataset.bsTheme ?? "auto") !== "auto") return;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const follow = () => { root.dataset.bsTheme = dark.matches ? "dark" : "light"; };
  follow();
  dark.addEventListener("change", follow);
})();
