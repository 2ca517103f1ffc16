// A photo that was dropped on the page: its segments with their names, and the objects nearest to what is clicked.
import { ask, store } from "./api.js";
import { byId, count, dot, make, percent, say } from "./dom.js";
import { facts, nearGrid } from "./object.js";

const BYTES_MAX = 64 * 2 ** 20;
// The violets of proposals in the report's palette: no named class has one of them soon.
const UNNAMED = ["#b57bff", "#7f4bd6", "#dcbcff", "#9c5cf0"];

let current = null;
let map = null;
let at = null;
let grid = null;

export const photoShown = () => current?.key ?? null;

/** Send a photo to be segmented, and show it. */
export async function sendPhoto(file) {
  if (file.size > BYTES_MAX) return say("That photo is larger than 64 MiB; take a smaller one.", { bad: true });
  const gone = say("Looking for segments…", { long: true });
  document.body.classList.add("busy");
  try {
    const about = await ask("/api/photos", { method: "POST", headers: { "content-type": "application/octet-stream" }, body: file });
    about.file = file.name;
    current = about;
    if (location.hash === `#/photo/${about.key}`) await showPhoto(about.key);
    else location.hash = `#/photo/${about.key}`;
  } catch (error) { if (error.message) say(error.message, { bad: true }); }
  gone();
  document.body.classList.remove("busy");
}

/** Show a photo that was sent, with the names as they are now. */
export async function showPhoto(key) {
  try {
    const known = current?.key === key ? current.file : "";
    current = { file: known, ...(await ask(`/api/photos/${encodeURIComponent(key)}`)) };
  } catch (error) {
    if (error.message) say(error.message, { bad: true });
    location.hash = "#/";
    return;
  }
  at = null;
  const canvas = make("canvas", { id: "canvas", "aria-label": "The photo with its segments; click to find what is nearest" });
  const frame = make("div", { class: "frame" }, canvas, ...current.segments.map(chip));
  const result = make("div", { id: "photo-near" }, make("p", { class: "aid" }, "Click a pixel of the photo, or choose a segment, to see the objects of the whole set that are nearest to it."));
  const listed = current.segments.length
    ? make("ul", { class: "segments" }, ...current.segments.map((segment) => make("li", {}, segmentButton(segment))))
    : make("p", { class: "note" }, "The run finds no object in this photo. Pixels can be searched all the same.");
  byId("photo").replaceChildren(
    make("div", { class: "row" }, make("a", { href: "#/" }, "← All clusters")),
    make("div", { class: "row" }, make("h1", {}, current.file || "A photo"), make("span", { class: "aid" }, `${count(current.width)} × ${count(current.height)} px · ${count(current.segments.length)} ${current.segments.length === 1 ? "segment" : "segments"}`)),
    make("div", { class: "two" }, make("div", {}, frame, listed), result));
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    search({ x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height });
  });
  await paint(canvas);
}

const colourOf = (segment) => (segment.name ? store.state.colours[segment.class_id] : UNNAMED[segment.number % UNNAMED.length]);

const titleOf = (segment) => segment.name || `unnamed cluster ${segment.cluster}`;

function chip(segment) {
  const [left, top] = segment.box;
  const element = make("span", { class: "chip" }, titleOf(segment));
  element.style.cssText = `left:${(100 * left).toFixed(2)}%;top:${(100 * top).toFixed(2)}%;translate:4px 4px`;
  return element;
}

function segmentButton(segment) {
  const onclick = () => search({ number: segment.number });
  return make("button", { type: "button", onclick, "data-number": segment.number }, dot(colourOf(segment)), titleOf(segment), make("small", {}, percent(segment.confidence)));
}

/** The photo, with its segments in the colours of their classes. */
async function paint(canvas) {
  const mine = current.key;
  const [photo, numbers] = await Promise.all([`/pictures/dropped/${mine}`, `/pictures/maps/${mine}`].map(picture));
  if (mine !== current?.key) return;
  [canvas.width, canvas.height] = [photo.naturalWidth, photo.naturalHeight];
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.drawImage(numbers, 0, 0);
  map = pen.getImageData(0, 0, canvas.width, canvas.height).data;
  pen.drawImage(photo, 0, 0);
  const shown = pen.getImageData(0, 0, canvas.width, canvas.height);
  const colours = new Map(current.segments.map((segment) => [segment.number, colourOf(segment).match(/[0-9a-f]{2}/gi).map((part) => parseInt(part, 16))]));
  const { width, height } = canvas;
  const thick = Math.max(1, Math.round(width / 420));
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const place = 4 * (y * width + x);
      const colour = colours.get(map[place]);
      if (!colour) continue;
      const onEdge = [[thick, 0], [-thick, 0], [0, thick], [0, -thick]].some(([dx, dy]) => map[4 * (Math.min(height - 1, Math.max(0, y + dy)) * width + Math.min(width - 1, Math.max(0, x + dx)))] !== map[place]);
      const share = onEdge ? 1 : 0.38;
      for (let channel = 0; channel < 3; channel += 1) shown.data[place + channel] += share * (colour[channel] - shown.data[place + channel]);
    }
  }
  pen.putImageData(shown, 0, 0);
  canvas.dataset.painted = mine;
}

function picture(source) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error("a picture did not arrive"));
    image.src = source;
  });
}

/** Look for what is nearest to a point ({x, y} as shares) or to a segment ({number}). */
async function search(wanted) {
  const began = performance.now();
  let found;
  try {
    found = await ask(`/api/photos/${current.key}/near?${new URLSearchParams(wanted)}`);
  } catch (error) {
    if (error.message) say(error.message, { bad: true });
    return;
  }
  at = found.number;
  for (const button of byId("photo").querySelectorAll(".segments button")) button.classList.toggle("at", Number(button.dataset.number) === at);
  byId("photo").querySelector(".pin")?.remove();
  if (wanted.x !== undefined) {
    const pin = make("span", { class: "pin" });
    pin.style.cssText = `left:${100 * wanted.x}%;top:${100 * wanted.y}%`;
    byId("photo").querySelector(".frame").append(pin);
  }
  const container = make("div", { class: "grid", id: "photo-grid", "aria-label": "Nearest objects" });
  const title = found.number ? `Nearest to segment ${found.number}, ${titleOf(found)}` : "Nearest to this pixel, which is in no segment";
  byId("photo-near").replaceChildren(make("h2", {}, title), facts(found), make("h2", {}, "Nearest objects"), container);
  grid = nearGrid(container, found.near);
  byId("photo-near").dataset.took = String(Math.round(performance.now() - began));
}

/** Handle a key of the photo's page; whether it was one. */
export function photoKey(event) {
  const buttons = [...byId("photo").querySelectorAll(".segments button")];
  const place = buttons.indexOf(document.activeElement);
  if (event.key === "Escape") location.hash = "#/";
  else if (document.activeElement === grid?.container && event.key !== "Tab") return grid.key(event);
  else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && buttons.length) buttons[Math.max(0, Math.min(buttons.length - 1, place + (event.key === "ArrowDown" ? 1 : -1)))].focus();
  else return false;
  return true;
}
