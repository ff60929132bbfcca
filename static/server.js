// The server's form works without this file. The encryption follows the port until it is chosen by
// hand: 465 means TLS from the start, every other port STARTTLS.
"use strict";

document.addEventListener("change", ({ target }) => {
  if (target.name === "security_mode") delete target.dataset.followsPort;
  if (target.name !== "port") return;
  const security = target.form.elements.security_mode;
  if (!("followsPort" in security.dataset)) return;
  security.value = target.value === "465" ? "ssl" : "starttls";
});
