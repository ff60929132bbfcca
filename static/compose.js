// The page to write a message works without this file, with a box for plain text. It puts an editor in
// that one's place, shows the route of the chosen From as a badge, and how far the message has come on
// its way to us; a refused message keeps its attachments.
"use strict";
(() => {
  function showRoute(form) {
    const routes = form.querySelector("[data-routes]");
    for (const route of routes.children) {
      route.hidden = route.dataset.routeOf !== form.elements.sender.value;
    }
    routes.hidden = false;
  }

  // The toolbar is one stop of the Tab key, so that the text is the next one; arrow keys lead from
  // button to button.
  const enabledTools = (tools) => [...tools.children].filter((button) => !button.disabled);

  function setStop(tools, stop) {
    for (const button of tools.children) button.tabIndex = button === stop ? 0 : -1;
  }

  function onToolKey(event) {
    const buttons = enabledTools(event.currentTarget);
    const at = buttons.indexOf(event.target);
    const moves = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1 };
    if (!(event.key in moves)) return;
    event.preventDefault();
    buttons.at(moves[event.key] % buttons.length).focus();
  }

  // Undo and Redo come and go; one of them may have been the stop.
  function keepStop(event) {
    const tools = event.target.closest("form").querySelector("[data-tools]");
    const buttons = enabledTools(tools);
    if (!buttons.some((button) => button.tabIndex === 0)) setStop(tools, buttons[0]);
  }

  function prepareTools(tools) {
    setStop(tools, tools.children[0]);
    tools.addEventListener("focusin", (event) => setStop(tools, event.target));
    tools.addEventListener("keydown", onToolKey);
  }

  // Trix tells that an editor is ready, also one that came with the answer to a refused message.
  function showEditor(event) {
    const editor = event.target;
    const form = editor.closest("form");
    const text = form.elements.text;
    const { formatted } = form.elements.html.dataset;
    if (!form.elements.html.value && formatted) {
      editor.editor.loadHTML(formatted);
      editor.editor.setSelectedRange(0);
    } else if (!form.elements.html.value && text.value) {
      editor.editor.insertString(text.value);
      editor.editor.setSelectedRange(0);
    }
    const rich = form.querySelector("[data-rich-text]");
    const error = document.getElementById(`${text.id}_error`);
    if (error) rich.append(error);
    form.querySelector("[data-plain-text]").hidden = true;
    rich.hidden = false;
    prepareTools(rich.querySelector("[data-tools]"));
    form.querySelector(`a[href="#${text.id}"]`)?.setAttribute("href", `#${editor.id}`);
    for (const button of rich.querySelectorAll("[data-trix-attribute], [data-trix-action]")) {
      // Trix hears the mouse only; a click by the keyboard has no detail.
      button.addEventListener("click", (click) => {
        if (click.detail === 0) button.dispatchEvent(new MouseEvent("mousedown", { bubbles: true }));
      });
    }
  }

  function showFormats(event) {
    const formats = event.attributes ?? {};
    for (const button of document.querySelectorAll("#letter-toolbar [data-trix-attribute]")) {
      button.setAttribute("aria-pressed", String(button.dataset.trixAttribute in formats));
    }
  }

  // What is shown without this file, should the server's answer be.
  function keepAsText(form) {
    const editor = form.querySelector("trix-editor");
    if (editor.editor) form.elements.text.value = editor.editor.getDocument().toString().trimEnd();
  }

  // Said here, before an upload that would only be refused; false where something is wrong.
  function checkFiles(form) {
    const input = form.elements.attachments;
    const kept = [...form.querySelectorAll("[name=kept]:checked")];
    const sizes = [
      ...kept.map((box) => Number(box.dataset.octets)),
      ...[...input.files].map((file) => file.size),
    ];
    const octets = sizes.reduce((sum, size) => sum + size, 0);
    const isMany = sizes.length > Number(input.dataset.mostFiles);
    const isLarge = !isMany && octets > Number(input.dataset.mostOctets);
    form.querySelector("[data-too-many]").hidden = !isMany;
    form.querySelector("[data-too-large]").hidden = !isLarge;
    return !isMany && !isLarge;
  }

  function showProgress(form, part) {
    form.querySelector("[data-upload]").hidden = part === null;
    form.querySelector("[data-hint]").hidden = part !== null;
    form.querySelector("progress").value = 100 * (part ?? 0);
    form.querySelector("[data-send]").disabled = part !== null;
  }

  function tellFailure(form) {
    showProgress(form, null);
    form.querySelector("[data-upload-failed]").hidden = false;
  }

  // The page as the server answered it, with the files that were chosen before.
  function showRefused(form, answer) {
    const content = new DOMParser().parseFromString(answer, "text/html").getElementById("content");
    const files = content?.querySelector("input[type=file]");
    if (!files) return tellFailure(form);
    const refused = files.getAttribute("aria-invalid") === "true";
    if (!refused) {
      const chosen = form.elements.attachments;
      for (const name of ["aria-invalid", "aria-describedby"]) chosen.removeAttribute(name);
      if (files.hasAttribute("aria-describedby")) {
        chosen.setAttribute("aria-describedby", files.getAttribute("aria-describedby"));
      }
      files.replaceWith(chosen);
      content.querySelector("[data-files-lost]")?.remove();
    }
    document.getElementById("content").replaceWith(content);
    start();
    document.querySelector("[data-focus]")?.focus();
  }

  // Leaving the page would lose what stands in it: the browser asks first.
  let isDirty = false;
  function askBeforeLeaving(event) {
    if (isDirty) event.preventDefault();
  }

  function onAnswer(form, request) {
    if (request.status === 422) return showRefused(form, request.responseText);
    if (request.status !== 200) return tellFailure(form);
    isDirty = false;
    location.assign(request.responseURL);
  }

  function send(form) {
    const request = new XMLHttpRequest();
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) showProgress(form, event.loaded / event.total);
    });
    request.addEventListener("load", () => onAnswer(form, request));
    request.addEventListener("error", () => tellFailure(form));
    request.open("POST", form.action);
    showProgress(form, 0);
    form.querySelector("[data-upload-failed]").hidden = true;
    keepAsText(form);
    const data = new FormData(form);
    // Newer than the page's own where somebody signed in again in another tab.
    const token = document.cookie.match(/(?:^|; )csrftoken=([^;]+)/);
    if (token) data.set("csrfmiddlewaretoken", token[1]);
    request.send(data);
  }

  function start() {
    const form = document.querySelector("[data-compose]");
    form.elements.sender.addEventListener("change", () => showRoute(form));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      event.stopPropagation();
      if (form.querySelector("[data-send]").disabled) return;
      if (checkFiles(form)) send(form);
      else form.elements.attachments.focus();
    });
    form.addEventListener("input", () => { isDirty = true; });
    form.addEventListener("change", (event) => {
      if (["attachments", "kept"].includes(event.target.name)) checkFiles(form);
    });
    showRoute(form);
  }

  document.addEventListener("DOMContentLoaded", start);
  document.addEventListener("trix-initialize", showEditor);
  document.addEventListener("trix-attributes-change", showFormats);
  document.addEventListener("trix-actions-change", keepStop);
  document.addEventListener("trix-change", () => { isDirty = true; });
  // Files go with the message, not into its text.
  document.addEventListener("trix-file-accept", (event) => event.preventDefault());
  window.addEventListener("beforeunload", askBeforeLeaving);
})();
