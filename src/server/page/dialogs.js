// Dialogs: the API key, and a request as code.

import { key } from "./api.js";
import { freshId, h } from "./dom.js";
import { say } from "./status.js";

/** A modal dialog that leaves the page when it is closed. */
export function dialog(title, ...contents) {
  const heading = freshId("dialog");
  const close = h(
    "button",
    { type: "button", class: "close", "aria-label": "Close", onclick: () => element.close() },
    "✕",
  );
  const element = h("dialog", { "aria-labelledby": heading }, h("h2", { id: heading }, title), close, ...contents);
  element.addEventListener("close", () => element.remove());
  document.body.append(element);
  element.showModal();
  return element;
}

let asking = null;

/** Asks for the server's key; whether one was given. All that need it share one dialog. */
export function askKey(message) {
  asking ??= new Promise((resolve) => {
    let isGiven = false;
    const id = freshId("key");
    const field = h("input", { id, type: "password", autocomplete: "off", required: true, autofocus: true });
    const form = h(
      "form",
      {
        onsubmit: (event) => {
          event.preventDefault();
          key.set(field.value.trim());
          isGiven = true;
          element.close();
        },
      },
      key.get() ? h("p", { class: "error" }, message) : null,
      h("p", {}, h("label", { for: id }, "API key "), field),
      h("p", { class: "fine" }, "It is kept until this tab is closed."),
      h("button", { type: "submit", class: "primary" }, "Use it"),
    );
    const element = dialog("This server asks for an API key", form);
    element.addEventListener("close", () => resolve(isGiven));
  }).finally(() => {
    asking = null;
  });
  return asking;
}

/** Text on the clipboard, or in a dialog where the browser keeps that to itself. */
export async function copy(text, title) {
  try {
    await navigator.clipboard.writeText(text);
    say("Copied.");
  } catch {
    showCode(title, text);
  }
}

/** Code to be looked at, and copied. */
export function showCode(title, code) {
  const pre = h("pre", { tabIndex: 0 }, code);
  const button = h(
    "button",
    {
      type: "button",
      class: "primary",
      onclick: async () => {
        try {
          await navigator.clipboard.writeText(code);
          button.textContent = "Copied";
        } catch {
          getSelection().selectAllChildren(pre);
          button.textContent = "Selected: copy it with the keyboard";
        }
      },
    },
    "Copy",
  );
  dialog(title, pre, button);
}
