// One cluster: all of its objects, its name, and what can be done to it.
import { ask, cardOf, change, colourOf, store, titleOf } from "./api.js";
import { byId, count, dot, make, percent, say } from "./dom.js";
import { focusCard, nameInput, order, startMerge } from "./gallery.js";
import { Grid } from "./grid.js";
import { openObject } from "./object.js";

let current = null;
let grid = null;
let listing = null;
let sorting = "typical";

export const clusterShown = () => current;

/** Show a cluster by its number, or whatever it became. */
export async function showCluster(cluster) {
  const card = cardOf(cluster);
  if (!card) {
    const split = store.state.clusters.length && cluster !== null;
    if (split) say(`Cluster ${cluster} is not there any more.`);
    location.hash = "#/";
    return;
  }
  const changed = current !== card.id;
  current = card.id;
  if (changed) build();
  head();
  try {
    const found = await ask(`/api/clusters/${card.id}`);
    if (current !== card.id) return;
    listing = { ...found, confidenceOf: new Map(found.objects.map((object, place) => [object, found.confidence[place]])), isRejected: new Set(found.rejected.map((place) => found.objects[place])) };
    list();
    if (changed) { grid.at = 0; window.scrollTo(0, 0); grid.container.focus({ preventScroll: true }); grid.draw(); }
  } catch (error) { if (error.message) say(error.message, { bad: true }); }
}

export function leaveCluster() {
  current = null;
  listing = null;
  byId("cluster").replaceChildren();
}

function build() {
  const container = make("div", { class: "grid", id: "objects", "aria-label": "Objects" });
  const selection = make("div", { class: "selection", id: "selection", hidden: true });
  byId("cluster").replaceChildren(make("div", { class: "head", id: "cluster-head" }), container, selection);
  grid = new Grid(container, {
    selects: true,
    onOpen: (index) => openObject(grid.objects, index, { refresh: () => showCluster(current) }),
    onSelect: drawSelection,
    label: (index) => `${listing.confidenceOf.get(grid.objects[index])} %`,
    marked: (object) => listing.isRejected.has(object),
  });
}

function head() {
  const card = cardOf(current);
  const typed = byId("cluster-name");
  const form = typed && document.activeElement === typed ? typed.closest("form") : nameForm(card);
  const button = (text, key, action, properties = {}) => make("button", { type: "button", onclick: action, ...properties }, `${text} `, make("kbd", {}, key));
  const merged = card.members.length > 1;
  const rejected = card.rejected ? ` · ${count(card.rejected)} rejected` : "";
  const about = `${count(card.num)} ${card.num === 1 ? "object" : "objects"}${rejected} · ${percent(card.confidence)} sure on average${merged ? ` · clusters ${card.members.join(", ")} merged` : ""}`;
  const sort = make("select", { onchange: (event) => { sorting = event.target.value; list(); } },
    make("option", { value: "typical" }, "most typical first"), make("option", { value: "unsure" }, "least certain first"));
  sort.value = sorting;
  byId("cluster-head").replaceChildren(
    make("div", { class: "row" }, make("a", { href: "#/" }, "← All clusters"),
      make("span", { class: "aid", title: "Previous and next cluster" }, make("kbd", {}, "["), " ", make("kbd", {}, "]"))),
    make("div", { class: "row" }, make("h1", {}, dot(colourOf(card)), card.name || `Cluster ${card.id}`), form),
    make("div", { class: "row" },
      make("span", { class: "aid", id: "cluster-facts" }, about),
      make("span", { class: "row" },
        merged ? button("Separate", "d", separate) : button("Split…", "s", openSplit, { disabled: card.num < 3 }),
        button("Merge into…", "m", merge)),
      make("label", { class: "choice" }, "Order ", sort)));
}

function nameForm(card) {
  const input = nameInput(card);
  input.id = "cluster-name";
  const form = make("form", { class: "name-form" }, input, make("button", { type: "submit", class: "primary" }, "Save"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (await change({ do: "name", cluster: card.id, name: input.value })) { grid.container.focus({ preventScroll: true }); head(); }
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { event.stopPropagation(); input.value = cardOf(current).name; grid.container.focus({ preventScroll: true }); }
  });
  return form;
}

function list() {
  const objects = [...listing.objects];
  if (sorting === "unsure") objects.sort((one, other) => listing.confidenceOf.get(one) - listing.confidenceOf.get(other));
  grid.show(objects);
}

function drawSelection() {
  const chosen = [...grid.selected];
  const box = byId("selection");
  box.hidden = !chosen.length;
  if (!chosen.length) return;
  const all = chosen.every((object) => listing.isRejected.has(object));
  box.replaceChildren(make("b", {}, `${count(chosen.length)} selected`),
    make("button", { type: "button", class: "bad", onclick: reject }, all ? "Take back " : "Reject ", make("kbd", {}, "x")),
    make("button", { type: "button", onclick: () => grid.clearSelection() }, "Clear ", make("kbd", {}, "Esc")));
}

async function reject() {
  const chosen = grid.chosen();
  if (!chosen.length) return say("Select objects first: click them, or move with the arrows and press Space.");
  const all = chosen.every((object) => listing.isRejected.has(object));
  if (await change({ do: all ? "restore" : "reject", objects: chosen })) grid.clearSelection();
}

const merge = () => { const cluster = current; location.hash = "#/"; setTimeout(() => startMerge(cluster)); };

const separate = () => change({ do: "separate", cluster: current });

function openSplit() {
  const card = cardOf(current);
  const dialog = byId("split");
  const parts = make("input", { type: "number", min: 2, max: 16, value: 2, "aria-label": "Number of parts" });
  const form = make("form", { method: "dialog" },
    make("h1", {}, `Split ${titleOf(card)}`),
    make("p", { class: "aid" }, "Its objects are clustered again, among themselves. The parts keep its name until you give them their own; undo puts it together again."),
    make("label", { class: "choice" }, "Number of parts ", parts),
    make("div", { class: "row" }, make("h1"), make("button", { type: "button", onclick: () => dialog.close() }, "Leave it"), make("button", { class: "primary", type: "submit" }, "Split")));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    form.classList.add("busy");
    const before = new Set(store.state.clusters.map((one) => one.id));
    if (await change({ do: "split", cluster: card.id, parts: Number(parts.value) })) {
      dialog.close();
      location.hash = "#/";
      const first = store.state.clusters.find((one) => !before.has(one.id));
      setTimeout(() => focusCard(first?.id));
    }
    form.classList.remove("busy");
  });
  dialog.replaceChildren(form);
  dialog.showModal();
  parts.select();
}

/** Handle a key of the cluster's page; whether it was one. */
export function clusterKey(event) {
  const card = cardOf(current);
  const onButton = document.activeElement?.matches("button, a");
  if (!card || (onButton && ["Enter", " "].includes(event.key))) return false;
  if (event.key === "Escape") grid.selected.size ? grid.clearSelection() : (location.hash = "#/");
  else if (event.key === "n") { byId("cluster-name").focus(); byId("cluster-name").select(); }
  else if (event.key === "x" || event.key === "Delete") reject();
  else if (event.key === "m") merge();
  else if (event.key === "s" && card.members.length === 1 && card.num > 2) openSplit();
  else if (event.key === "d" && card.members.length > 1) separate();
  else if (event.key === "[" || event.key === "]") {
    const ids = order();
    const place = ids.indexOf(current) + (event.key === "]" ? 1 : -1);
    if (ids[place] !== undefined) location.hash = `#/cluster/${ids[place]}`;
  } else {
    if (document.activeElement !== grid.container) grid.container.focus({ preventScroll: true });
    return grid.key(event);
  }
  return true;
}
