// The clusters as cards: order, filter, search, naming on the card, merging two.
import { ask, cardOf, change, colourOf, store, thumbnail, titleOf } from "./api.js";
import { byId, count, dot, make, percent, say } from "./dom.js";
import { Grid } from "./grid.js";
import { openObject } from "./object.js";

const elements = new Map();
let shown = [];
let at = null;
let merging = null;
let found = null;
let search = 0;

const ORDERS = {
  size: (one, other) => other.num - one.num || one.id - other.id,
  unsure: (one, other) => one.confidence - other.confidence || one.id - other.id,
  name: (one, other) => (one.name === "") - (other.name === "") || one.name.localeCompare(other.name) || one.id - other.id,
};
const FILTERS = { all: () => true, open: (card) => !card.name, named: (card) => card.name };

export function startGallery() {
  for (const id of ["order", "filter"]) byId(id).addEventListener("change", draw);
  byId("cards").addEventListener("focusin", (event) => {
    const card = event.target.closest(".card");
    if (!card || Number(card.dataset.cluster) === at) return;
    elements.get(at)?.setAttribute("tabindex", "-1");
    at = Number(card.dataset.cluster);
    card.tabIndex = 0;
  });
  byId("search").addEventListener("input", () => { draw(); findPhotos(); });
  found = new Grid(byId("found-grid"), { onOpen: (index) => openObject(found.objects, index) });
}

export const foundGrid = () => found;

export const isMerging = () => merging !== null;

/** Draw all cards that pass the filter and the search, in the chosen order. An element stays with its cluster, so a name that is being typed is not lost. */
export function draw() {
  const wanted = byId("search").value.trim().toLocaleLowerCase();
  const matches = (card) => !wanted || card.name.toLocaleLowerCase().includes(wanted) || card.members.some((member) => String(member) === wanted);
  const kept = FILTERS[byId("filter").value];
  const editing = document.activeElement?.closest?.(".card form") ? Number(document.activeElement.closest(".card").dataset.cluster) : null;
  shown = store.state.clusters.filter((card) => (kept(card) && matches(card)) || card.id === editing).sort(ORDERS[byId("order").value]);
  const ids = new Set(shown.map((card) => card.id));
  for (const [id, element] of elements) {
    if (!ids.has(id)) { element.remove(); elements.delete(id); }
  }
  shown.forEach((card, place) => {
    const element = elements.get(card.id) ?? make("li", { class: "card", tabIndex: -1, "data-cluster": card.id });
    elements.set(card.id, element);
    fill(element, card);
    if (byId("cards").children[place] !== element) byId("cards").insertBefore(element, byId("cards").children[place] ?? null);
  });
  if (!ids.has(at)) at = shown[0]?.id ?? null;
  for (const [id, element] of elements) element.tabIndex = id === at ? 0 : -1;
  byId("no-cards").hidden = shown.length > 0;
  byId("no-cards").textContent = wanted ? `No cluster is called “${byId("search").value.trim()}”.` : byId("filter").value === "open" ? "Every cluster has a name." : "No cluster has a name yet.";
  byId("merging").hidden = merging === null;
  if (merging !== null) byId("merging").textContent = `Merge ${titleOf(cardOf(merging))} into which cluster? Choose one: click it, or arrows and Enter. Esc leaves both as they are.`;
}

function fill(element, card) {
  const text = JSON.stringify([card, colourOf(card), merging]);
  if (element.dataset.text === text) return;
  element.dataset.text = text;
  const form = element.querySelector("form");
  const picture = (src) => make("img", { src, alt: "", loading: "lazy", decoding: "async", draggable: false });
  const mosaic = card.examples.length === 8
    ? make("div", { class: "mosaic whole" }, picture(`/pictures/mosaics/${card.examples.join("-")}?of=${store.state.key}`))
    : make("div", { class: "mosaic" }, ...card.examples.map((object) => picture(thumbnail(object))), ...Array.from({ length: 8 - card.examples.length }, () => make("i")));
  const title = make("div", { class: card.name ? "name" : "name unnamed" }, dot(colourOf(card)), make("span", { title: titleOf(card) }, titleOf(card)),
    make("small", {}, card.name ? `#${card.id}` : ""));
  const merged = card.members.length > 1 ? ` in ${card.members.length} merged` : "";
  const facts = make("div", { class: "facts" }, make("span", {}, `${count(card.num)} ${card.num === 1 ? "object" : "objects"}${merged}`),
    make("span", { title: "Mean confidence of its objects" }, card.num ? `${percent(card.confidence)} sure` : ""));
  element.replaceChildren(mosaic, make("div", { class: "about" }, form ?? title, facts));
  element.setAttribute("aria-label", `${titleOf(card)}, ${count(card.num)} objects`);
  element.classList.toggle("chosen", card.id === merging);
}

/** The cards' own clicks. */
export function clickCards(event) {
  const element = event.target.closest(".card");
  if (!element || event.target.closest("form")) return;
  at = Number(element.dataset.cluster);
  const onName = event.target.closest(".name");
  if (merging !== null) finishMerge(at);
  else if (onName) edit(at);
  else location.hash = `#/cluster/${at}`;
}

/** Type the name of a card's cluster on the card. */
export function edit(cluster) {
  const element = elements.get(cluster);
  const card = cardOf(cluster);
  if (!element || element.querySelector("form")) return;
  focusCard(cluster);
  const input = nameInput(card);
  const title = element.querySelector(".name");
  const form = make("form", { class: "name-form" }, input);
  let over = false;
  const leave = () => {
    if (over) return;
    over = true;
    form.replaceWith(title);
    delete element.dataset.text;
    draw();
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (input.value.trim() === cardOf(cluster)?.name || await change({ do: "name", cluster, name: input.value })) {
      const next = after(cluster);
      leave();
      focusCard(next);
    } else input.focus();
  });
  input.addEventListener("blur", () => { if (input.value.trim() === card.name) leave(); });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { event.stopPropagation(); leave(); focusCard(cluster); }
  });
  title.replaceWith(form);
  input.focus();
  input.select();
}

export function nameInput(card) {
  return make("input", { type: "text", value: card.name, placeholder: "Name", "aria-label": `Name of cluster ${card.id}`, maxLength: 80, autocomplete: "off", spellcheck: false, list: "known-names" });
}

/** The next card without a name after this one, or the next one. */
function after(cluster) {
  const place = shown.findIndex((card) => card.id === cluster);
  const later = [...shown.slice(place + 1), ...shown.slice(0, place)];
  return (later.find((card) => !card.name && card.id !== cluster) ?? later[0] ?? shown[place])?.id ?? null;
}

export function focusCard(cluster = at) {
  if (cluster === null || !elements.has(cluster)) cluster = shown[0]?.id ?? null;
  if (cluster === null) return;
  elements.get(at)?.setAttribute("tabindex", "-1");
  at = cluster;
  const element = elements.get(cluster);
  element.tabIndex = 0;
  element.focus({ preventScroll: true });
  element.scrollIntoView({ block: "nearest" });
}

export function startMerge(cluster) {
  merging = cardOf(cluster)?.id ?? null;
  at = merging;
  byId("filter").value = "all";
  byId("search").value = "";
  draw();
  focusCard(at);
}

export function stopMerge() {
  merging = null;
  draw();
}

async function finishMerge(into) {
  const cluster = merging;
  if (into === cluster) return say("Choose another cluster than the one that is merged.", { bad: true });
  if (await change({ do: "merge", cluster, into })) {
    stopMerge();
    focusCard(cardOf(into)?.id);
  }
}

/** Handle a key of the gallery; whether it was one. */
export function galleryKey(event) {
  const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns() };
  const place = shown.findIndex((card) => card.id === at);
  if (document.activeElement === byId("found-grid")) return found.key(event);
  if (event.key in moves && shown.length) {
    const onCard = document.activeElement?.closest?.(".card");
    focusCard(shown[onCard ? Math.max(0, Math.min(shown.length - 1, place + moves[event.key])) : Math.max(0, place)].id);
  } else if (event.key === "Home" || event.key === "End") focusCard((event.key === "Home" ? shown[0] : shown.at(-1))?.id);
  else if (event.key === "Escape" && merging !== null) stopMerge();
  else if (at === null || !document.activeElement?.closest?.(".card")) return false;
  else if (event.key === "Enter") merging !== null ? finishMerge(at) : (location.hash = `#/cluster/${at}`);
  else if (event.key === "n") edit(at);
  else if (event.key === "m") startMerge(at);
  else return false;
  return true;
}

function columns() {
  return getComputedStyle(byId("cards")).gridTemplateColumns.split(" ").length;
}

/** Photos by name, once no letter was typed for a moment. */
function findPhotos() {
  const text = byId("search").value.trim();
  search += 1;
  const mine = search;
  if (text.length < 2) {
    byId("found").hidden = true;
    return;
  }
  setTimeout(async () => {
    if (mine !== search) return;
    try {
      const { objects } = await ask(`/api/find?${new URLSearchParams({ text })}`);
      if (mine !== search) return;
      byId("found").hidden = !objects.length;
      found.show(objects);
    } catch (error) { if (error.message) say(error.message, { bad: true }); }
  }, 180);
}

/** The clusters in the order that they are shown in. */
export const order = () => shown.map((card) => card.id);
