/** The routes by tag, and a search among them. */
import { at, h } from "./dom.js";
import type { Operation } from "./schema.js";

interface Entry {
  operation: Operation;
  words: string;
  item: HTMLElement;
  button: HTMLButtonElement;
}

export class Routes {
  private readonly entries: Entry[] = [];
  private readonly groups: HTMLElement[] = [];
  private readonly search = at<HTMLInputElement>("search");
  private readonly box = at<HTMLDetailsElement>("routes-box");

  constructor(
    operations: Operation[],
    private readonly chosen: (operation: Operation) => void,
  ) {
    const tags = [...new Set(operations.map(({ tag }) => tag))];
    for (const tag of tags) this.addGroup(tag, operations.filter((operation) => operation.tag === tag));
    at("routes").replaceChildren(...this.groups);
    this.search.addEventListener("input", () => this.filter());
    at("routes-pane").addEventListener("keydown", (event) => this.pressed(event));
    this.filter();
  }

  private addGroup(tag: string, operations: Operation[]): void {
    const entries = operations.map((operation) => this.entryOf(operation));
    this.entries.push(...entries);
    const list = h("ul", {}, ...entries.map(({ item }) => item));
    this.groups.push(h("section", {}, tag !== "" && h("h3", {}, tag), list));
  }

  private entryOf(operation: Operation): Entry {
    const { method, path, summary, tag, live, deprecated } = operation;
    const button = h(
      "button",
      { type: "button", class: deprecated ? "route deprecated" : "route", title: summary, onclick: () => this.choose(operation) },
      h("span", { class: `method ${method}` }, method),
      h("span", { class: "path" }, path),
      live && h("span", { class: "live-mark", title: `can be subscribed to: ${live.mode}` }, "live"),
    );
    return { operation, button, item: h("li", {}, button), words: `${method} ${path} ${summary} ${tag}`.toLowerCase() };
  }

  private choose(operation: Operation): void {
    if (matchMedia("(max-width: 1099px)").matches) this.box.open = false;
    this.chosen(operation);
  }

  focus(): void {
    this.box.open = true;
    this.search.focus();
    this.search.select();
  }

  /** Mark the one whose request is shown. */
  mark(operation?: Operation): void {
    for (const entry of this.entries) {
      if (entry.operation === operation) entry.button.setAttribute("aria-current", "true");
      else entry.button.removeAttribute("aria-current");
    }
  }

  private filter(): void {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const entry of this.entries) entry.item.hidden = !words.every((word) => entry.words.includes(word));
    for (const group of this.groups) group.hidden = !group.querySelector("li:not([hidden])");
    const count = this.entries.filter(({ item }) => !item.hidden).length;
    at("routes-count").textContent = count === this.entries.length ? `${count}` : `${count} of ${this.entries.length}`;
  }

  private pressed(event: KeyboardEvent): void {
    const { key } = event;
    if (!["ArrowDown", "ArrowUp", "Enter"].includes(key)) return;
    const buttons = this.entries.filter(({ item }) => !item.hidden).map(({ button }) => button);
    const now = buttons.indexOf(document.activeElement as HTMLButtonElement);
    if (key === "Enter") {
      if (now < 0 && document.activeElement === this.search) buttons[0]?.click();
      return;
    }
    event.preventDefault();
    const next = now + (key === "ArrowDown" ? 1 : -1);
    if (next < 0) this.search.focus();
    else buttons[Math.min(next, buttons.length - 1)]?.focus();
  }
}
