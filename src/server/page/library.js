// The dialog with the conversations that this browser keeps.

import { dialog } from "./dialogs.js";
import { download, h } from "./dom.js";
import { say } from "./status.js";
import * as store from "./store.js";
import { visible } from "./text.js";

/** `open(conversation)` shows one; `current` is the id of the one that is shown. */
export async function openLibrary({ open, current, removed }) {
  const list = h("ul", { class: "library" });
  const fault = h("p", { class: "error", role: "alert" });
  const file = h("input", {
    type: "file",
    accept: ".json,application/json",
    class: "unseen",
    "aria-label": "File to import",
    tabIndex: -1,
  });
  file.addEventListener("change", () => load(file.files[0]));
  const element = dialog(
    "Conversations",
    list,
    fault,
    h("p", { class: "fine" }, "They are kept in this browser, and nowhere else."),
    h("button", { type: "button", onclick: () => file.click() }, "Import…"),
    " ",
    h(
      "button",
      { type: "button", onclick: async () => save("proxytune-conversations.json", await store.all()) },
      "Export all",
    ),
    file,
  );
  await show();

  async function show() {
    const all = await store.all();
    const items = all.map((conversation) => {
      const { id, title, updated, turns } = conversation;
      const button = (label, onclick) =>
        h("button", { type: "button", onclick, "aria-label": `${label} “${title}”` }, label);
      return h(
        "li",
        { "aria-current": id === current ? "true" : undefined },
        h(
          "button",
          {
            type: "button",
            class: "title",
            onclick: () => {
              element.close();
              open(conversation);
            },
          },
          visible(title) || "Untitled",
        ),
        h(
          "small",
          {},
          `${turns.length} ${turns.length === 1 ? "prompt" : "prompts"}, ${new Date(updated).toLocaleString()}`,
        ),
        button("Export", () => save(`${slug(title)}.json`, [conversation])),
        button("Delete", async () => {
          if (!confirm(`Delete “${title}”? It cannot be brought back.`)) return;
          await store.remove(id);
          removed(id);
          await show();
        }),
      );
    });
    list.replaceChildren(...(items.length ? items : [h("li", {}, "There are none yet.")]));
  }

  async function load(chosen) {
    if (!chosen) return;
    try {
      const conversations = store.imported(await chosen.text());
      const here = new Set((await store.all()).map(({ id }) => id));
      // One that is here already stays: what comes in gets another id.
      for (const conversation of conversations) {
        await store.put(
          here.has(conversation.id)
            ? { ...conversation, id: crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}` }
            : conversation,
        );
      }
      fault.textContent = "";
      say(`${conversations.length} imported.`);
      await show();
    } catch (error) {
      fault.textContent = `${chosen.name}: ${error.message}`;
    }
    file.value = "";
  }
}

const save = (name, conversations) => download(name, store.exported(conversations));

const slug = (title) =>
  title
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}]+/gu, "-")
    .replaceAll(/^-|-$/g, "")
    .slice(0, 40) || "conversation";
