// Elements and messages. Texts of others (names, file names) become text nodes and properties only, never markup.

/** An element with properties (`class`, `on…`, `data-…`, anything else as a property) and children; strings become text. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("data-") || name.startsWith("aria-") || name === "role" || name === "list") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

export const count = (number) => number.toLocaleString("en");

export const percent = (share) => `${Math.round(100 * share)} %`;

/** A dot in a class's colour; nothing for what has no name. */
export function dot(colour) {
  if (!colour) return null;
  const element = make("i", { class: "dot" });
  element.style.background = colour;
  return element;
}

/** Say something for a while: longer where it is `bad`, or has an `action` with a button, and until it is taken back where it is `long`. Takes it back. */
export function say(text, { bad = false, action = null, label = "", long = false } = {}) {
  const passing = !bad && !action;
  if (passing) for (const earlier of byId("toasts").querySelectorAll(".passing")) earlier.remove();
  const toast = make("div", { class: `toast${bad ? " bad" : ""}${passing ? " passing" : ""}` }, make("span", {}, text));
  const gone = () => toast.remove();
  if (action) toast.append(make("button", { type: "button", onclick: () => { gone(); action(); } }, label));
  byId("toasts").append(toast);
  while (byId("toasts").children.length > 3) byId("toasts").firstChild.remove();
  if (!long) setTimeout(gone, action ? 15000 : bad ? 9000 : 3500);
  return gone;
}

/** Whether the focus is where letters are text. */
export const isTyping = () => document.activeElement?.matches("input:not([type=checkbox]), select, textarea") ?? false;
