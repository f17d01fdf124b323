/** The console: a page that shows what an application has, and asks it. */
import { createClient, RequestFailed, type Client } from "../../typescript/src/index.js";
import { Cards } from "./cards.js";
import { Composer } from "./composer.js";
import { at, bytes, pretty, short, sizeOf } from "./dom.js";
import { members } from "./json.js";
import { Log } from "./log.js";
import { read, written, type Message } from "./place.js";
import { Routes } from "./routes.js";
import { operationsOf, type Schema } from "./schema.js";
import { Tap, type Arrived } from "./tap.js";

const SCHEMES = ["light dark", "light", "dark"];
const NAMES = ["System", "Light", "Dark"];
const KEPT = "aiorest-ws-scheme";

const log = new Log();
const cards = new Cards();
const tap = new Tap({
  sent: (text, { method, url, id }) => log.add("out", `${method ?? "?"} ${url ?? ""} #${id}`, text),
  arrived: ({ text, message: { id, status, event_name, version } }) =>
    log.add("in", id === undefined ? `${event_name ?? "?"} ${short(version ?? status)}` : `${status} #${id}`, text),
  noted: (text) => log.add("note", "connection", text),
});

let client: Client;
let composer: Composer;
let connected = "";
let asked = 0;

/** The url of WebSockets at a path of this server; the page may ask no other one. */
function address(path: string): string {
  const url = new URL(path, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.hash = "";
  return url.href;
}

function connect(): void {
  const token = at<HTMLInputElement>("token").value.trim() || undefined;
  try {
    const url = address(at<HTMLInputElement>("address").value.trim());
    if (url === connected) return client.signIn(token);
    const made = createClient({ url, token, WebSocket: tap.WebSocket, backoff: [250, 5000] });
    client?.close();
    client = made;
    connected = url;
  } catch (error) {
    at("announcer").textContent = (error as Error).message;
    return composer?.complain((error as Error).message);
  }
  client.onstatus(showStatus);
  showStatus();
}

function showStatus(): void {
  const status = tap.isHeld ? "dropped" : client.status;
  const pill = at("status");
  pill.textContent = status;
  pill.dataset.status = status;
  at("drop").textContent = tap.isHeld ? "Resume" : "Drop";
}

function toggleLine(): void {
  if (tap.isHeld) tap.resume();
  else tap.drop();
  showStatus();
}

async function send(): Promise<void> {
  const message = made();
  if (!message) return;
  const mine = ++asked;
  at("reply").scrollIntoView({ block: "nearest" });
  at("reply").setAttribute("aria-busy", "true");
  const { method, url, args, data, idempotency_key: idempotencyKey } = message;
  try {
    await (client.request as any)(method, url, { args, data, idempotencyKey });
    if (mine === asked) showReply(tap.last!);
  } catch (error) {
    if (mine !== asked) return;
    if (error instanceof RequestFailed) showReply(tap.last!);
    else showFailure(error as Error);
  } finally {
    if (mine === asked) at("reply").removeAttribute("aria-busy");
  }
}

function subscribe(): void {
  const message = made();
  if (!message) return;
  if (message.method.toUpperCase() !== "GET") return composer.complain("only what answers GET can be subscribed to");
  cards.subscribe(client, tap, message);
}

/** Have the address lead to `message`. Browsers take no address that is too long, nor too many. */
function link(message: Message): void {
  try {
    history.replaceState(null, "", written(message));
  } catch (error) {
    log.add("note", "link", String(error));
  }
}

/** The request, with a link to it; nothing, if it is wrong, which is shown. */
function made(): Message | undefined {
  try {
    const message = composer.message();
    link(message);
    return message;
  } catch {
    return undefined; // It is shown.
  }
}

function showReply({ message: { status }, text, took = 0 }: Arrived): void {
  const badge = at("reply-status");
  badge.textContent = String(status);
  badge.dataset.kind = `${Math.floor(status / 100)}xx`;
  at("reply-time").textContent = `${took < 10 ? took.toFixed(1) : Math.round(took)} ms`;
  at("reply-size").textContent = bytes(sizeOf(text));
  at("reply-body").textContent = pretty(bodyOf(text));
}

/** What a reply says, as it is written: its data, or detail, alone, if there is nothing beside it. */
function bodyOf(text: string): string {
  const said = members(text);
  for (const name of ["id", "status"]) said.delete(name);
  const [first = ["", "null"], ...others] = said;
  if (!others.length && (first[0] === "data" || first[0] === "detail" || !said.size)) return first[1];
  return `{${[...said].map(([name, value]) => `${JSON.stringify(name)}:${value}`)}}`;
}

function showFailure(error: Error): void {
  const badge = at("reply-status");
  badge.textContent = error.name;
  badge.dataset.kind = "5xx";
  at("reply-time").textContent = at("reply-size").textContent = "";
  at("reply-body").textContent = error.message;
}

async function copyLink(): Promise<void> {
  if (!made()) return;
  const button = at("link");
  try {
    await navigator.clipboard.writeText(location.href.replace(location.search, "")); // It may have a token in it.
    button.textContent = "Copied";
  } catch {
    button.textContent = "In the address bar"; // A page without TLS has no clipboard.
  }
  setTimeout(() => (button.textContent = "Copy link"), 2000);
}

function useScheme(place: number): void {
  document.documentElement.style.colorScheme = SCHEMES[place]!;
  at("scheme").textContent = NAMES[place]!;
  at("scheme").dataset.place = String(place);
}

function kept(): number {
  try {
    return Math.max(0, SCHEMES.indexOf(localStorage.getItem(KEPT) ?? ""));
  } catch {
    return 0; // The browser keeps nothing for this page.
  }
}

function nextScheme(): void {
  const place = (Number(at("scheme").dataset.place) + 1) % SCHEMES.length;
  useScheme(place);
  try {
    localStorage.setItem(KEPT, SCHEMES[place]!);
  } catch {}
}

function pressed(event: KeyboardEvent, routes: Routes): void {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    if (event.shiftKey) subscribe();
    else void send();
    return;
  }
  if (at<HTMLDialogElement>("keys").open) return;
  const isTyping = /^(INPUT|TEXTAREA|SELECT)$/.test((event.target as HTMLElement).tagName);
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  const acts: Record<string, () => void> = {
    "/": () => routes.focus(),
    d: toggleLine,
    l: () => at("log-list").focus(),
    "?": () => at<HTMLDialogElement>("keys").showModal(),
  };
  const act = acts[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}

async function schema(): Promise<Schema> {
  const reply = await fetch(`openapi.json${location.search}`);
  if (!reply.ok) throw new Error(`openapi.json: ${reply.status}`);
  return reply.json();
}

async function begin(): Promise<void> {
  useScheme(kept());
  const path = document.querySelector<HTMLMetaElement>('meta[name="path"]')!.content;
  at<HTMLInputElement>("address").value = new URL(path, location.href).pathname + location.search;
  connect();
  let document_: Schema = {};
  let unknown = "";
  try {
    document_ = await schema();
  } catch (error) {
    unknown = `The routes are not known: ${(error as Error).message}. Requests can be written as JSON.`;
  }
  const operations = operationsOf(document_);
  if (document_.info?.title) at("title").textContent = document_.info.title;
  const routes = new Routes(operations, (operation) => composer.open(operation));
  if (unknown) at("routes").textContent = unknown;
  composer = new Composer(document_, operations, (operation) => {
    routes.mark(operation);
    const isLive = !operation || operation.live !== undefined;
    at<HTMLButtonElement>("subscribe").disabled = !isLive;
  });
  const restore = () => {
    const message = read(location.hash);
    if (message) composer.restore(message);
  };
  restore();
  addEventListener("hashchange", restore);
  addEventListener("keydown", (event) => pressed(event, routes));
}

at("connection").addEventListener("submit", (event) => {
  event.preventDefault();
  connect();
});
at("request").addEventListener("submit", (event) => {
  event.preventDefault();
  void send();
});
at("drop").addEventListener("click", toggleLine);
at("subscribe").addEventListener("click", subscribe);
at("link").addEventListener("click", () => void copyLink());
at("scheme").addEventListener("click", nextScheme);
at("help").addEventListener("click", () => at<HTMLDialogElement>("keys").showModal());
void begin();
