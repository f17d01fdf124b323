/** What is subscribed to: each change and its version. */
import type { Change, Client, TopicStatus } from "../../typescript/src/index.js";
import { canonical } from "../../typescript/src/topics.js";
import { at, clock, h, pretty, short } from "./dom.js";
import { members } from "./json.js";
import type { Message } from "./place.js";
import type { Tap } from "./tap.js";

interface Seen {
  time: number;
  version: string;
  text: string;
}

const SHOWN = 50; // changes of each
const LONGEST = 400; // characters of one in the list
const BEGUN: Record<number, string> = { 200: "begun", 206: "resumed", 304: "resumed, nothing missed" };

export class Card {
  readonly element: HTMLElement;
  private readonly status = h("span", { class: "pill" });
  private readonly how = h("span", { class: "quiet" });
  private readonly version = h("code", { class: "version" });
  private readonly value = h("pre", { class: "code", role: "group", tabindex: "0", "aria-label": "the last value" });
  private readonly changes = h("ol", { class: "changes", "aria-label": "changes, the newest first" });
  private readonly end = h("button", { type: "button", onclick: () => this.close() }, "End");
  private readonly close: () => void;
  private seen: Seen[] = [];
  private last = "null";
  private count = 0;
  private isDrawn = true;

  constructor(
    client: Client,
    private readonly tap: Tap,
    readonly request: Message,
    private readonly said: (text: string) => void,
  ) {
    const args = request.args === undefined ? "" : ` ${JSON.stringify(request.args)}`;
    const heading = h("h3", {}, request.url, h("span", { class: "quiet" }, args));
    const head = h("div", { class: "card-head" }, heading, this.status, this.end);
    this.element = h("article", { class: "card" }, head, h("p", {}, this.version, " ", this.how), this.value, this.changes);
    this.set("stale");
    const subscription = client.subscribe(request.url, {
      args: request.args as Record<string, unknown> | undefined,
      onchange: (change: Change<any, any>) => this.took(change),
      onstatus: (status: TopicStatus, error?: unknown) => this.set(status, error),
    });
    this.close = () => {
      if (subscription.status === "ended") this.element.remove();
      else subscription.close();
    };
  }

  get isOver(): boolean {
    return this.status.dataset.status === "ended";
  }

  private set(status: TopicStatus, error?: unknown): void {
    this.status.textContent = status;
    this.status.dataset.status = status;
    const reply = this.tap.last?.message;
    if (status === "live") this.how.textContent = BEGUN[reply?.status] ?? "";
    else if (error) this.how.textContent = error instanceof Error ? error.message : String(error);
    if (status === "live") this.version.textContent = String(reply?.version ?? "");
    if (status === "ended") this.end.textContent = "Remove";
    this.said(`${this.request.url}: ${status} ${this.how.textContent}`);
  }

  private took(change: Change<any, any>): void {
    const version = String(this.tap.last?.message.version ?? "");
    const lost = change.type === "value" && change.lost ? " (items may be missing before it)" : "";
    this.last = members(this.tap.last?.text ?? "").get("data") ?? JSON.stringify(change.data) ?? "";
    this.seen.unshift({ time: Date.now(), version, text: `${this.last.slice(0, LONGEST)}${lost}` });
    this.seen.length = Math.min(this.seen.length, SHOWN);
    this.count++;
    if (!this.isDrawn) return;
    this.isDrawn = false;
    requestAnimationFrame(() => this.draw());
  }

  private draw(): void {
    this.isDrawn = true;
    this.version.textContent = this.seen[0]!.version;
    this.value.textContent = pretty(this.last);
    const rows = this.seen.map(({ time, version, text }) =>
      h("li", {}, h("time", {}, clock(time)), h("code", { class: "version", title: version }, short(version)), h("span", { class: "text" }, text)),
    );
    this.changes.replaceChildren(...rows);
    this.element.dataset.changes = String(this.count);
  }
}

export class Cards {
  private cards: Card[] = [];

  subscribe(client: Client, tap: Tap, request: Message): void {
    const same = this.cards.find((card) => !card.isOver && canonical(card.request) === canonical(request));
    if (same) {
      same.element.scrollIntoView({ block: "nearest" });
      return;
    }
    const card = new Card(client, tap, request, (text) => (at("announcer").textContent = text));
    this.cards = [...this.cards.filter(({ element }) => element.isConnected), card];
    at("cards").prepend(card.element);
    card.element.scrollIntoView({ block: "nearest" });
  }
}
