// One object: its photo with its outline, its class, and the objects nearest to it.
import { ask, change, store, thumbnail } from "./api.js";
import { byId, count, make, percent, say } from "./dom.js";
import { Grid } from "./grid.js";

let listed = [];
let place = 0;
let near = null;
let refresh = null;

/** Open the object `objects[index]`; the arrow keys move through `objects`. */
export async function openObject(objects, index, options = {}) {
  listed = objects;
  place = index;
  refresh = options.refresh ?? null;
  await show();
}

async function show() {
  const object = listed[place];
  const dialog = byId("object");
  let about;
  try {
    about = await ask(`/api/objects/${object}`);
  } catch (error) {
    if (error.message) say(error.message, { bad: true });
    return;
  }
  const grid = make("div", { class: "grid", id: "near", "aria-label": "Nearest objects" });
  dialog.replaceChildren(
    make("div", { class: "row" }, make("h1", {}, about.name || `cluster ${about.cluster}`), make("span", { class: "aid" }, `${count(place + 1)} of ${count(listed.length)}`),
      make("button", { type: "button", onclick: () => step(-1), disabled: place === 0, "aria-label": "Previous object" }, "←"),
      make("button", { type: "button", onclick: () => step(1), disabled: place === listed.length - 1, "aria-label": "Next object" }, "→"),
      make("button", { type: "button", class: "bad", onclick: () => reject(about) }, about.rejected ? "Take back " : "Reject ", make("kbd", {}, "x")),
      make("button", { type: "button", onclick: () => dialog.close() }, "Close")),
    make("div", { class: "two" },
      make("div", {}, make("div", { class: "frame object-photo" }, make("img", { src: `/pictures/photos/${object}?of=${store.state.key}`, alt: "The photo, with the object outlined" })), facts(about)),
      make("div", {}, make("h2", {}, "Nearest objects"), grid)));
  if (!dialog.open) dialog.showModal();
  near = nearGrid(grid, about.near);
  grid.focus({ preventScroll: true });
  dialog.scrollTop = 0;
}

/** The class of what was found, how sure, and the second choice. */
export function facts(about) {
  const rows = [
    ["photo", about.photo], ["cluster", about.name ? `${about.cluster}, ${about.name}` : `${about.cluster}, without a name`], ["confidence", percent(about.confidence)],
    ["second choice", about.second ? `${about.second} (${percent(about.second_confidence)})` : "none"],
    ["size", about.area_px === undefined ? undefined : `${count(about.area_px)} of ${count(about.width)} × ${count(about.height)} px`], ["", about.rejected ? "rejected" : undefined],
  ];
  return make("dl", {}, ...rows.filter(([, text]) => text !== undefined).flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]));
}

/** A grid of the objects nearest to something; opening one searches from there. */
export function nearGrid(container, found) {
  const grid = new Grid(container, {
    side: 92,
    onOpen: (index) => openObject(grid.objects, index, { refresh }),
    label: (index) => `${found[index].similarity.toFixed(2)} ${found[index].name || `#${found[index].cluster}`}`,
  });
  grid.show(found.map((one) => one.object));
  return grid;
}

function step(by) {
  if (place + by < 0 || place + by >= listed.length) return;
  place += by;
  show();
}

async function reject(about) {
  if (await change({ do: about.rejected ? "restore" : "reject", objects: [about.object] })) {
    refresh?.();
    show();
  }
}

/** Handle a key while the dialog is open; whether it was one. */
export function objectKey(event) {
  if (event.key === "ArrowLeft" && event.altKey) step(-1);
  else if (event.key === "ArrowRight" && event.altKey) step(1);
  else if (event.key === "PageDown" || event.key === "j") step(1);
  else if (event.key === "PageUp" || event.key === "k") step(-1);
  else if (event.key === "x") byId("object").querySelector("button.bad").click();
  else return document.activeElement === near?.container && near.key(event);
  return true;
}
