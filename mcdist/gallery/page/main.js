// The page: which of its views is shown, the keys, undo and redo, and photos that are dropped.
import { change, load, onState, store, watch } from "./api.js";
import { clusterKey, clusterShown, leaveCluster, showCluster } from "./cluster.js";
import { byId, count, isTyping, make, say } from "./dom.js";
import { clickCards, draw, focusCard, foundGrid, galleryKey, isMerging, startGallery, stopMerge } from "./gallery.js";
import { objectKey } from "./object.js";
import { photoKey, photoShown, sendPhoto, showPhoto } from "./photo.js";

let view = "gallery";
let lastCluster = null;

const KEYS = [
  ["Everywhere", [[["/"], "search names, numbers and photos"], [["u"], "undo"], [["Shift", "u"], "redo"], [["p"], "try a photo"], [["?"], "this help"], [["Esc"], "back"]]],
  ["Clusters", [[["←", "↑", "→", "↓"], "move"], [["Enter"], "look at the objects"], [["n"], "type the name; Enter saves it and moves to the next cluster without one"], [["m"], "merge into another"]]],
  ["One cluster", [[["Space"], "select an object; with Shift and arrows, several"], [["Ctrl", "a"], "select all"], [["x"], "reject the selection, or take that back"], [["Enter"], "look at the object and what is nearest"], [["n"], "name"],
    [["s"], "split"], [["m"], "merge"], [["d"], "separate what was merged"], [["[", "]"], "previous and next cluster"]]],
  ["One object", [[["j", "k"], "next and previous object"], [["x"], "reject it, or take that back"]]],
];

function route() {
  const [, kind, key] = location.hash.match(/^#\/(cluster|photo)\/([\w-]+)$/) ?? [null, "gallery", null];
  const left = clusterShown();
  view = kind;
  for (const id of ["gallery", "cluster", "photo"]) byId(id).hidden = id !== view;
  if (view !== "cluster" && left !== null) { lastCluster = left; leaveCluster(); }
  if (view === "gallery") {
    draw();
    if (!isTyping() && !document.querySelector("dialog[open]")) focusCard(lastCluster ?? undefined);
  } else if (isMerging()) stopMerge();
  if (view === "cluster") { lastCluster = Number(key); showCluster(Number(key)); }
  if (view === "photo") showPhoto(key);
}

function refresh(state) {
  document.title = `${state.title} · mcdist view`;
  document.body.dataset.revision = String(state.revision);
  byId("title").textContent = state.title;
  const { objects, named, rejected, photos, photos_done: done } = state.counts;
  const share = objects > rejected ? named / (objects - rejected) : 1;
  byId("progress").style.width = `${100 * share}%`;
  byId("progress").parentElement.setAttribute("aria-valuenow", String(Math.round(100 * share)));
  const parts = [make("b", {}, count(named)), ` of ${count(objects - rejected)} objects have a name · `, make("b", {}, count(done)), ` of ${count(photos)} photos are labelled completely · `,
    make("b", {}, count(state.classes.length)), state.classes.length === 1 ? " class" : " classes"];
  byId("counts").replaceChildren(...parts, rejected ? ` · ${count(rejected)} rejected` : "");
  byId("undo").disabled = !state.undo;
  byId("undo").title = state.undo ? `Undo: ${state.undo} (u)` : "Nothing to undo";
  byId("redo").disabled = !state.redo;
  byId("redo").title = state.redo ? `Redo: ${state.redo} (Shift u)` : "Nothing to redo";
  byId("known-names").replaceChildren(...state.classes.map((name) => make("option", { value: name })));
  if (view === "gallery") draw();
  else if (view === "cluster") showCluster(clusterShown() ?? lastCluster);
  else if (photoShown()) showPhoto(photoShown());
}

async function goBack(wanted) {
  const what = store.state[wanted];
  if (!what) return say(wanted === "undo" ? "There is nothing to undo." : "There is nothing to redo.");
  if (await change({ do: wanted }, { quiet: true })) say(wanted === "undo" ? `Undone: ${what}` : `Done again: ${what}`);
}

function openHelp() {
  const dialog = byId("help");
  const table = (rows) => make("dl", { class: "keys" }, ...rows.flatMap(([keys, text]) => [make("dt", {}, ...keys.map((key) => make("kbd", {}, key))), make("dd", {}, text)]));
  dialog.replaceChildren(
    make("div", { class: "row" }, make("h1", {}, "Keys and help"), make("button", { type: "button", onclick: () => dialog.close() }, "Close")),
    make("p", { class: "aid" }, "Name the clusters; clusters with the same name are one class, and one called “background” is background. A name is saved at once, in names.json beside the run. Drop a photo on the page to see its segments."),
    make("div", { class: "two" }, make("div", {}, ...KEYS.slice(0, 2).flatMap(([title, rows]) => [make("h2", {}, title), table(rows)])),
      make("div", {}, ...KEYS.slice(2).flatMap(([title, rows]) => [make("h2", {}, title), table(rows)]))));
  dialog.showModal();
}

function key(event) {
  if (event.defaultPrevented || ((event.ctrlKey || event.metaKey) && event.key !== "a") || event.isComposing) return;
  const dialog = document.querySelector("dialog[open]");
  if (dialog) {
    if (dialog.id === "object" && objectKey(event)) event.preventDefault();
    return;
  }
  if (isTyping()) {
    if (event.key === "Escape" && document.activeElement.id === "search") { byId("search").value = ""; byId("search").dispatchEvent(new Event("input")); focusCard(); }
    else if (["Enter", "ArrowDown"].includes(event.key) && document.activeElement.id === "search") { focusCard(); event.preventDefault(); }
    return;
  }
  const everywhere = {
    "/": () => { if (view !== "gallery") location.hash = "#/"; byId("search").focus(); byId("search").select(); },
    u: () => goBack("undo"), U: () => goBack("redo"), p: () => byId("file").click(), "?": openHelp,
  };
  const handlers = { gallery: galleryKey, cluster: clusterKey, photo: photoKey };
  if (event.key in everywhere) everywhere[event.key]();
  else if (!handlers[view](event)) return;
  event.preventDefault();
}

function takeDrops() {
  let depth = 0;
  const over = (by) => { depth = Math.max(0, depth + by); byId("drop").hidden = depth === 0; };
  const hasFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  addEventListener("dragenter", (event) => { if (hasFile(event)) { event.preventDefault(); over(1); } });
  addEventListener("dragleave", (event) => { if (hasFile(event)) over(-1); });
  addEventListener("dragover", (event) => { if (hasFile(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    if (!hasFile(event)) return;
    event.preventDefault();
    over(-depth);
    if (event.dataTransfer.files.length) sendPhoto(event.dataTransfer.files[0]);
  });
}

async function start() {
  startGallery();
  takeDrops();
  onState(refresh);
  byId("cards").addEventListener("click", clickCards);
  byId("undo").addEventListener("click", () => goBack("undo"));
  byId("redo").addEventListener("click", () => goBack("redo"));
  byId("help-button").addEventListener("click", openHelp);
  byId("open-photo").addEventListener("click", () => byId("file").click());
  byId("file").addEventListener("change", () => { if (byId("file").files.length) sendPhoto(byId("file").files[0]); byId("file").value = ""; });
  byId("search").addEventListener("focus", () => { if (view !== "gallery") location.hash = "#/"; });
  addEventListener("keydown", key);
  addEventListener("hashchange", route);
  addEventListener("focusin", () => { if (view === "gallery") foundGrid().draw(); });
  try {
    await load();
  } catch (error) {
    if (error.message) say(error.message, { bad: true });
    return;
  }
  route();
  watch();
  document.body.dataset.ready = "yes";
}

start();
