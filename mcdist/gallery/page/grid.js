// A grid of objects that holds elements for what is on the screen only, so that 100,000 objects scroll as 100 do.
import { thumbnail } from "./api.js";
import { make } from "./dom.js";

const GAP = 8;
const ROWS_BEYOND = 3;

export class Grid {
  /** `container` becomes the grid. `onOpen(index)`: Enter or a double click; `onSelect()`: the selection is another. `label(index)`: the text on a cell. */
  constructor(container, { side = 112, selects = false, onOpen = () => {}, onSelect = () => {}, label = () => "", marked = () => false }) {
    Object.assign(this, { container, side, selects, onOpen, onSelect, label, marked });
    this.objects = [];
    this.selected = new Set();
    this.at = 0;
    this.anchor = 0;
    this.cells = new Map();
    container.tabIndex = 0;
    container.setAttribute("role", "listbox");
    container.setAttribute("aria-multiselectable", String(selects));
    container.addEventListener("click", (event) => this.clicked(event));
    container.addEventListener("dblclick", (event) => this.indexOf(event) !== null && this.onOpen(this.indexOf(event)));
    this.draw = this.draw.bind(this);
    this.later = () => { this.frame ??= requestAnimationFrame(() => { this.frame = undefined; this.draw(); }); };
    this.scroller = container.closest("dialog");
    (this.scroller ?? window).addEventListener("scroll", this.later, { passive: true });
    this.sizes = new ResizeObserver(this.later);
    this.sizes.observe(container);
  }

  /** Show other objects; the selection stays where it names objects that are still there. */
  show(objects) {
    const chosen = new Set([...this.selected]);
    this.objects = objects;
    this.selected = new Set(objects.filter((object) => chosen.has(object)));
    this.at = Math.min(this.at, Math.max(0, objects.length - 1));
    for (const cell of this.cells.values()) cell.remove();
    this.cells.clear();
    this.draw();
    this.onSelect();
  }

  get numColumns() {
    return Math.max(1, Math.floor((this.container.clientWidth + GAP) / (this.side + GAP)));
  }

  draw() {
    if (!this.container.isConnected || !this.container.clientWidth) return;
    const columns = this.numColumns;
    const width = (this.container.clientWidth - (columns - 1) * GAP) / columns;
    const pitch = width + GAP;
    const rows = Math.ceil(this.objects.length / columns);
    Object.assign(this, { columns, pitch });
    this.container.style.height = `${Math.max(0, rows * pitch - GAP)}px`;
    const top = this.container.getBoundingClientRect().top - (this.scroller ? this.scroller.getBoundingClientRect().top : 0);
    const seen = this.scroller ? this.scroller.clientHeight : window.innerHeight;
    const first = Math.max(0, Math.floor(-top / pitch) - ROWS_BEYOND) * columns;
    const last = Math.min(this.objects.length, (Math.ceil((seen - top) / pitch) + ROWS_BEYOND) * columns);
    for (const [index, cell] of this.cells) {
      if (index < first || index >= last) {
        cell.remove();
        this.cells.delete(index);
      }
    }
    for (let index = first; index < last; index += 1) {
      let cell = this.cells.get(index);
      if (!cell) {
        cell = this.cell(index);
        this.cells.set(index, cell);
        this.container.append(cell);
      }
      cell.style.cssText = `width:${width}px;height:${width}px;left:${(index % columns) * pitch}px;top:${Math.floor(index / columns) * pitch}px`;
      this.mark(index, cell);
    }
    this.container.setAttribute("aria-activedescendant", this.cells.has(this.at) ? this.cells.get(this.at).id : "");
  }

  cell(index) {
    const object = this.objects[index];
    const text = this.label(index);
    const image = make("img", { src: thumbnail(object), alt: "", decoding: "async", draggable: false, fetchPriority: "low" });
    const about = { class: "cell", role: "option", id: `${this.container.id}-${index}`, title: text, "data-object": object, "data-index": index };
    return make("div", about, image, text ? make("small", {}, text) : null);
  }

  mark(index, cell) {
    const object = this.objects[index];
    cell.classList.toggle("selected", this.selected.has(object));
    cell.classList.toggle("at", index === this.at && document.activeElement === this.container);
    cell.classList.toggle("rejected", this.marked(object));
    cell.setAttribute("aria-selected", String(this.selected.has(object)));
  }

  indexOf(event) {
    const cell = event.target.closest(".cell");
    return cell ? Number(cell.dataset.index) : null;
  }

  clicked(event) {
    const index = this.indexOf(event);
    if (index === null) return;
    this.container.focus({ preventScroll: true });
    this.at = index;
    if (!this.selects) this.onOpen(index);
    else if (event.shiftKey) this.selectUpTo(index);
    else this.toggle(index);
    this.draw();
  }

  toggle(index) {
    const object = this.objects[index];
    if (!this.selected.delete(object)) this.selected.add(object);
    this.anchor = index;
    this.onSelect();
  }

  selectUpTo(index) {
    const [low, high] = [Math.min(this.anchor, index), Math.max(this.anchor, index)];
    for (let place = low; place <= high; place += 1) this.selected.add(this.objects[place]);
    this.onSelect();
  }

  clearSelection() {
    this.selected.clear();
    this.onSelect();
    this.draw();
  }

  /** What the keyboard acts on: the selection, or where it is empty the cell that has the focus. */
  chosen() {
    if (this.selected.size) return [...this.selected];
    return this.objects.length && document.activeElement === this.container ? [this.objects[this.at]] : [];
  }

  /** Handle a key; whether it was one of the grid's. */
  key(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns, Home: -Infinity, End: Infinity };
    if (event.key in steps && this.objects.length) {
      const before = this.at;
      this.at = Math.max(0, Math.min(this.objects.length - 1, before + steps[event.key]));
      if (event.shiftKey && this.selects) {
        this.anchor = this.selected.size ? this.anchor : before;
        this.selectUpTo(this.at);
      }
      this.reveal();
    } else if (event.key === " " && this.selects && this.objects.length) this.toggle(this.at);
    else if (event.key === "a" && this.selects && (event.ctrlKey || event.metaKey)) {
      this.selected = new Set(this.objects);
      this.onSelect();
    } else if (event.key === "Enter" && this.objects.length) this.onOpen(this.at);
    else return false;
    this.draw();
    return true;
  }

  reveal() {
    const top = Math.floor(this.at / this.columns) * this.pitch + this.container.getBoundingClientRect().top - (this.scroller ? this.scroller.getBoundingClientRect().top : 0);
    const seen = this.scroller ? this.scroller.clientHeight : window.innerHeight;
    const above = this.scroller ? 12 : 110;
    const by = top < above ? top - above : top + this.pitch > seen - 24 ? top + this.pitch - seen + 24 : 0;
    if (by) (this.scroller ?? window).scrollBy({ top: by });
  }
}
