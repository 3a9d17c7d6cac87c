// Elements without markup: text is never parsed as HTML.

/** An element with properties, `on…` listeners, `aria-…` and `data-…` attributes, and children. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.includes("-") || name === "role" || name === "for") element.setAttribute(name, value);
    else if (name === "class") element.className = value;
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** The same for SVG, where everything is an attribute. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export const byId = (id) => document.getElementById(id);

let nIds = 0;
/** An id that no other element has. */
export function freshId(stem) {
  nIds += 1;
  return `${stem}-${nIds}`;
}

/** Calls `f` with the latest arguments, at most once in `ms`. */
export function atMostEvery(ms, f) {
  let timer = null;
  let latest = [];
  return (...values) => {
    latest = values;
    if (timer !== null) return;
    timer = setTimeout(() => {
      timer = null;
      f(...latest);
    }, ms);
  };
}

/** Gives a person a file. */
export function download(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
