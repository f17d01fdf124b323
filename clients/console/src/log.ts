/** The messages of both ways: as many as fit into its bounds, of which only those in sight are elements. */
import { at, bytes, clock, h, indented, sizeOf } from "./dom.js";

export type Way = "out" | "in" | "note";

interface Entry {
  number: number;
  time: number;
  way: Way;
  label: string;
  text: string;
  /** Bytes, once somebody has looked at it. */
  size?: number;
}

const ROWS = 10_000;
const CHARACTERS = 16_000_000; // of all
const OF_ONE = 65_536; // characters that are kept of one message
const HEIGHT = 26; // px of a row, as in the style sheet
const PAUSE = 100; // ms between two drawings of what comes: each is painted anew, and people read no faster
const SPARE = 6; // rows above and below those in sight
const ARROWS = { out: "↑", in: "↓", note: "·" };
const WAYS = { out: "sent", in: "received", note: "note" };

export class Log {
  private entries: Entry[] = [];
  private shown: Entry[] = this.entries;
  private characters = 0;
  private count = 0;
  private selected?: Entry;
  private isDrawn = true;
  private drawn = 0;
  private waiting?: ReturnType<typeof setTimeout>;
  private isPaused = false;
  private follows = true;
  private top = 0; // as it was drawn
  private needle = "";
  private readonly list = at("log-list");
  private readonly sizer = h("div", { class: "sizer", role: "presentation" });
  private readonly rows: HTMLElement[] = [];
  private readonly detail = at("log-detail");
  private readonly counter = at("log-count");

  constructor() {
    this.list.append(this.sizer);
    this.list.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.list.addEventListener("keydown", (event) => this.pressed(event));
    new ResizeObserver(() => this.draw()).observe(this.list);
    at<HTMLInputElement>("log-filter").addEventListener("input", (event) => {
      this.needle = (event.target as HTMLInputElement).value.toLowerCase();
      this.filter();
    });
    at("log-clear").addEventListener("click", () => this.clear());
    const pause = at("log-pause");
    pause.addEventListener("click", () => {
      this.isPaused = !this.isPaused;
      pause.setAttribute("aria-pressed", String(this.isPaused));
      this.draw();
    });
  }

  add(way: Way, label: string, text: string): void {
    if (this.isPaused) return;
    const isCut = text.length > OF_ONE;
    const kept = isCut ? `${text.slice(0, OF_ONE)}…` : text;
    const size = isCut ? sizeOf(text) : undefined;
    const entry = { number: ++this.count, time: Date.now(), way, label, text: kept, size };
    this.entries.push(entry);
    this.characters += kept.length;
    if (this.shown !== this.entries && this.matches(entry)) this.shown.push(entry);
    if (this.entries.length > ROWS + ROWS / 10 || this.characters > CHARACTERS) this.shorten();
    this.waiting ??= setTimeout(() => this.draw(), Math.max(0, this.drawn + PAUSE - performance.now()));
  }

  /** Let the oldest go; a tenth at a time, as it moves all others. */
  private shorten(): void {
    let gone = Math.max(0, this.entries.length - ROWS);
    for (const { text } of this.entries.slice(0, gone)) this.characters -= text.length;
    while (this.characters > CHARACTERS * 0.9) this.characters -= this.entries[gone++]!.text.length;
    const before = this.shown.length;
    this.entries = this.entries.slice(gone);
    this.filter();
    if (!this.follows) this.list.scrollTop -= (before - this.shown.length) * HEIGHT;
  }

  private matches({ label, text }: Entry): boolean {
    return label.toLowerCase().includes(this.needle) || text.toLowerCase().includes(this.needle);
  }

  private filter(): void {
    this.shown = this.needle ? this.entries.filter((entry) => this.matches(entry)) : this.entries;
    this.draw();
  }

  private clear(): void {
    this.entries = [];
    this.characters = 0;
    this.follows = true;
    this.select(undefined);
    this.filter();
  }

  private scrolled(): void {
    const { scrollTop, clientHeight, scrollHeight } = this.list;
    if (scrollTop === this.top) return; // It was drawn so.
    this.follows = scrollTop + clientHeight >= scrollHeight - HEIGHT;
    this.draw();
  }

  private pressed(event: KeyboardEvent): void {
    const moves: Record<string, number> = { ArrowUp: -1, ArrowDown: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };
    const by = moves[event.key];
    if (by === undefined || !this.shown.length) return;
    event.preventDefault();
    const now = this.selected ? this.shown.indexOf(this.selected) : this.shown.length;
    const next = Math.max(0, Math.min(this.shown.length - 1, now + by));
    this.select(this.shown[next]);
    const top = next * HEIGHT;
    const { scrollTop, clientHeight } = this.list;
    if (top < scrollTop) this.list.scrollTop = top;
    else if (top + HEIGHT > scrollTop + clientHeight) this.list.scrollTop = top + HEIGHT - clientHeight;
  }

  private select(entry?: Entry): void {
    this.selected = entry;
    this.detail.hidden = !entry;
    this.detail.textContent = entry ? indented(entry.text) : "";
    if (entry) this.detail.scrollIntoView({ block: "nearest" });
    this.draw();
  }

  /** Draw before the next frame, once, however many messages come until then. */
  private draw(): void {
    clearTimeout(this.waiting);
    this.waiting = undefined;
    if (!this.isDrawn) return;
    this.isDrawn = false;
    requestAnimationFrame(() => {
      this.isDrawn = true;
      this.drawn = performance.now();
      this.drawNow();
    });
  }

  /** What is asked of the page comes first, and where it is scrolled to last: so it is laid out once. */
  private drawNow(): void {
    const { clientHeight, scrollTop } = this.list;
    const total = this.shown.length;
    const bottom = Math.max(0, total * HEIGHT - clientHeight);
    const top = this.follows ? bottom : Math.min(scrollTop, bottom);
    const first = Math.max(0, Math.floor(top / HEIGHT) - SPARE);
    const last = Math.min(total, Math.ceil((top + clientHeight) / HEIGHT) + SPARE);
    for (let place = 0; place < last - first; place++) this.fill(this.row(place), first + place, total);
    for (const spare of this.rows.slice(Math.max(0, last - first))) spare.hidden = true;
    const active = this.selected && this.shown.indexOf(this.selected);
    if (active !== undefined && active >= first && active < last) {
      this.list.setAttribute("aria-activedescendant", this.rows[active - first]!.id);
    } else this.list.removeAttribute("aria-activedescendant");
    const all = this.needle ? `${total} of ${this.entries.length}` : `${total}`;
    this.counter.textContent = `${all}${this.isPaused ? ", paused" : ""}`;
    this.sizer.style.height = `${total * HEIGHT}px`;
    if (this.follows) this.list.scrollTop = total * HEIGHT;
    this.top = this.list.scrollTop;
  }

  private row(place: number): HTMLElement {
    let row = this.rows[place];
    if (!row) {
      const cells = ["time", "way", "label", "text", "size"].map((name) => h("span", { class: name }));
      row = h("div", { role: "option", class: "row", id: `log-row-${place}` }, ...cells);
      row.addEventListener("click", () => this.select(this.shown[Number(row!.dataset.index)]));
      this.rows.push(row);
      this.sizer.append(row);
    }
    return row;
  }

  private fill(row: HTMLElement, index: number, total: number): void {
    const entry = this.shown[index]!;
    const isSelected = entry === this.selected;
    row.hidden = false;
    row.style.transform = `translateY(${index * HEIGHT}px)`;
    row.setAttribute("aria-selected", String(isSelected));
    row.setAttribute("aria-posinset", String(index + 1));
    row.setAttribute("aria-setsize", String(total));
    row.dataset.index = String(index);
    if (row.dataset.number === String(entry.number)) return;
    row.dataset.number = String(entry.number);
    const [time, way, label, text, size] = row.children as unknown as HTMLElement[];
    if (row.dataset.way !== entry.way) way!.replaceChildren(ARROWS[entry.way], h("span", { class: "hidden" }, WAYS[entry.way]));
    row.dataset.way = entry.way;
    time!.textContent = clock(entry.time);
    label!.textContent = entry.label;
    text!.textContent = entry.text.slice(0, 300);
    size!.textContent = entry.way === "note" ? "" : bytes((entry.size ??= sizeOf(entry.text)));
  }
}
