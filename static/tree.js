// The unit tree as a navigation tree of the ARIA Authoring Practices: one tab stop, arrow keys,
// Home, End, first letters. Without this file it is a list of links, open along the current unit.
"use strict";
(() => {
  const rowsOf = (tree) => [...tree.querySelectorAll(".tree-row")].filter((row) => row.offsetParent);
  const childrenOf = (row) => row.closest("li").querySelector(":scope > ul");
  const parentOf = (row) =>
    row.closest("li").parentElement.closest("li")?.querySelector(".tree-row");

  function mark(tree) {
    for (const list of tree.querySelectorAll("ul")) list.setAttribute("role", "group");
    tree.querySelector("ul").setAttribute("role", "tree");
    for (const item of tree.querySelectorAll("li")) item.setAttribute("role", "none");
    // The keys of the tree do what these do: a second stop for each row would be in the way.
    for (const toggle of tree.querySelectorAll(".tree-toggle")) {
      toggle.tabIndex = -1;
      toggle.setAttribute("aria-hidden", "true");
    }
    for (const row of tree.querySelectorAll(".tree-row")) {
      row.setAttribute("role", "treeitem");
      row.tabIndex = -1;
    }
    (tree.querySelector(".tree-row[aria-current]") ?? tree.querySelector(".tree-row")).tabIndex = 0;
  }

  function moveTo(tree, row) {
    if (!row) return;
    for (const other of tree.querySelectorAll(".tree-row[tabindex='0']")) other.tabIndex = -1;
    row.tabIndex = 0;
    row.focus();
  }

  async function open(tree, row) {
    if (!childrenOf(row)) {
      const answer = await fetch(row.dataset.children, { headers: { "HX-Request": "true" } });
      if (answer.headers.has("HX-Refresh")) return location.reload(); // signed out meanwhile
      if (!answer.ok || childrenOf(row)) return;
      row.parentElement.insertAdjacentHTML("afterend", await answer.text());
      const stop = tree.querySelector(".tree-row[tabindex='0']");
      mark(tree);
      moveTo(tree, stop);
    }
    row.setAttribute("aria-expanded", "true");
  }

  const close = (row) => row.setAttribute("aria-expanded", "false");

  function goRight(tree, row) {
    if (row.ariaExpanded === "false") return open(tree, row);
    if (row.ariaExpanded === "true") moveTo(tree, childrenOf(row)?.querySelector(".tree-row"));
  }

  function goLeft(tree, row) {
    if (row.ariaExpanded === "true") return close(row);
    moveTo(tree, parentOf(row));
  }

  function goToLetter(tree, row, letter) {
    const rows = rowsOf(tree);
    const after = rows.indexOf(row) + 1;
    const named = [...rows.slice(after), ...rows.slice(0, after)].find((other) =>
      other.querySelector(".tree-name").textContent.trim().toLowerCase().startsWith(letter));
    moveTo(tree, named);
  }

  function goBy(tree, row, key) {
    const rows = rowsOf(tree);
    const here = rows.indexOf(row);
    const goal = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: rows.length - 1 }[key];
    moveTo(tree, rows[goal]);
  }

  function onKey(event) {
    const row = event.target.closest(".tree-row");
    if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
    const tree = event.currentTarget;
    if (event.key === "ArrowRight") goRight(tree, row);
    else if (event.key === "ArrowLeft") goLeft(tree, row);
    else if (event.key === " ") row.click();
    else if (["ArrowDown", "ArrowUp", "Home", "End"].includes(event.key)) goBy(tree, row, event.key);
    else if (event.key.length === 1) goToLetter(tree, row, event.key.toLowerCase());
    else return;
    event.preventDefault();
  }

  function onChevron(event) {
    const toggle = event.target.closest(".tree-toggle");
    if (!toggle || event.ctrlKey || event.metaKey) return;
    const row = toggle.parentElement.querySelector(".tree-row");
    event.preventDefault();
    if (row.ariaExpanded === "true") close(row);
    else if (row.ariaExpanded === "false") open(event.currentTarget, row);
  }

  document.addEventListener("DOMContentLoaded", () => {
    for (const tree of document.querySelectorAll(".tree")) {
      mark(tree);
      tree.addEventListener("keydown", onKey);
      tree.addEventListener("click", onChevron);
    }
  });
})();
