/** One connection that comes back: PING, back-off, close codes, and who is signed in. */
import { type Call, Calls, type Message } from "./calls.js";
import { ConnectionLost, UnexpectedReply } from "./errors.js";
import { now, PATIENCE, Purse, type Token } from "./purse.js";

export type Status = "connecting" | "open" | "offline" | "closed";

/** What is used of a WebSocket, as browsers have it. */
export interface Socket {
  readyState: number;
  send(text: string): void;
  close(code?: number): void;
  onopen: any;
  onmessage: any;
  onclose: any;
  onerror: any;
}

export interface LinkOptions {
  /** `wss://…` or `ws://…` */
  url: string;
  /** Goes with each request. A function is asked before a token expires, and once at 401. */
  token?: Token;
  /** Where there is none by itself, as in Node 20: that of the package `ws`. */
  WebSocket?: new (
    url: string,
  ) => any;
  /** Milliseconds for a call that says nothing else: 30,000; 0: no limit. */
  timeout?: number;
  /** Least and greatest bound of the back-off in ms, of which a random part is waited: 500 and 20,000. */
  backoff?: [number, number];
  /** Calls that may wait while there is no connection: 256. */
  queue?: number;
  /** Calls in flight: 48. Less than the server's `max_concurrency`, so that PING and UNSUBSCRIBE get through. */
  concurrency?: number;
  /** ms of silence before a PING, and ms after it before the connection counts as dead: 25,000 and 10,000. */
  silence?: number;
  patience?: number;
}

export const STABLE = 30_000; // ms after which a connection, or a subscription, counts as a good one: what went wrong before is forgotten
const HASTE = 3000; // ms that a connection may take to open before a wake-up begins another
const WAKES = ["online", "visibilitychange", "pageshow"]; // the network, the window, and the page out of the browser's cache
const UNTIRING = 16; // attempts after which the bound of the back-off grows no more
const SLOWLY = new Set([1013, 4408, 4425, 4429]); // the server has too much to do: the longest back-off at once

/** A policy, or 4000 and a status of HTTP: this client, as it is, will not be let in. */
const isRefusal = (code: number) => code === 1008 || (code >= 4400 && code < 4500 && !SLOWLY.has(code));

/** Run what the user gave; what it raises is reported where the user sees it, and disturbs nothing here. */
export function guarded<A extends unknown[]>(callback: ((...args: A) => void) | undefined, ...args: A): void {
  try {
    callback?.(...args);
  } catch (error) {
    report(error);
  }
}

const report = (error: unknown) => ((globalThis as any).window?.reportError ?? console.error)(error);

export class Link {
  status: Status = "connecting";
  readonly watchers = new Set<(status: Status) => void>();
  onpush: (message: Message) => void = () => {};
  /** The token is another; `another`: so is the user, and what was known of the old one is to be forgotten. */
  onrenewed: (another: boolean) => void = () => {};
  purse: Purse;
  /** Why the server does not let this client in. */
  refusal?: ConnectionLost;
  private readonly Kind: new (
    url: string,
  ) => Socket;
  private readonly calls: Calls;
  private readonly silence: number;
  private socket?: Socket;
  private attempts = 0;
  private began = 0;
  private heard = 0;
  private pinged = 0;
  private late = 0;
  private moved = 0;
  private isOver = false;
  /** The server has said something that makes sense. */
  private isKnown = false;
  private wasRefused = false;
  private retrying?: ReturnType<typeof setTimeout>;
  private pulse?: ReturnType<typeof setInterval>;

  constructor(private readonly options: LinkOptions) {
    const Kind = options.WebSocket ?? (globalThis as any).WebSocket;
    if (!Kind) throw new TypeError("no WebSocket here: give one, as createClient({url, WebSocket})");
    if (!/^wss?:\/\//i.test(options.url)) throw new TypeError(`the url begins with ws:// or wss://, got ${options.url}`);
    this.Kind = Kind;
    this.silence = options.silence ?? 25_000;
    this.calls = new Calls(options, (text) => this.socket!.send(text));
    this.purse = this.purseOf(options.token);
    this.connect();
    for (const event of WAKES) globalThis.addEventListener?.(event, this.wake);
  }

  call(message: Message, timeout?: number, signal?: AbortSignal): Call {
    const call = this.calls.add(message, this.status === "offline", timeout, signal);
    if (this.status === "closed") call.cancel(this.end);
    else this.flush();
    return call;
  }

  /** Send what waits for no room: UNSUBSCRIBE and PING; nobody waits for the reply. */
  tell(message: Message): void {
    if (this.status === "open") this.calls.tell(message);
  }

  /** Why nothing is sent any more. */
  get end(): ConnectionLost {
    return this.refusal ?? new ConnectionLost("the client is closed", false);
  }

  close(): void {
    this.isOver = true;
    for (const event of WAKES) globalThis.removeEventListener?.(event, this.wake);
    this.stop("the client was closed");
  }

  /** Take another user's token from here on. */
  become(token?: Token): void {
    if (this.isOver) return;
    this.purse = this.purseOf(token);
    this.changeUser();
  }

  /** A part of the back-off's bound, all of it equally likely. */
  jitter(attempts: number): number {
    const [least, most] = this.options.backoff ?? [500, 20_000];
    return Math.random() * Math.min(most, least * 2 ** Math.min(attempts, UNTIRING));
  }

  private purseOf(token?: Token): Purse {
    const purse: Purse = new Purse(token, (another) => {
      if (purse !== this.purse || this.status === "closed") return;
      if (another) this.changeUser();
      else this.onrenewed(false);
    });
    return purse;
  }

  /** A new connection, as the old one is the old user's, and so is all that waits. */
  private changeUser(): void {
    this.calls.reject("the user changed");
    this.letGo();
    this.wasRefused = false;
    this.set("offline");
    this.onrenewed(true);
    if (!this.isOver) this.connect();
  }

  private readonly wake = (): void => {
    if ((globalThis as any).document?.visibilityState === "hidden") return;
    if (this.status === "open") this.ping();
    else if (this.status === "offline" && (!this.socket || now() - this.began > HASTE)) this.connect();
  };

  private readonly connect = (): void => {
    this.letGo();
    let socket: Socket;
    try {
      socket = this.socket = new this.Kind(this.options.url);
    } catch (error) {
      if (!this.pulse) throw error; // The first one is asked for by whoever makes the client.
      report(error);
      return this.lost(1006);
    }
    const mine =
      <A>(act: (argument: A) => void) =>
      (argument: A) =>
        void (socket === this.socket && act(argument));
    socket.onopen = mine(() => this.begin());
    socket.onmessage = mine((event: { data: unknown }) => this.take(event.data));
    socket.onclose = mine((event: { code: number }) => this.lost(event.code));
    // Where it did not open, not everybody says that it closed; and some tell which status of HTTP refused it.
    socket.onerror = mine((event: { message?: string }) => {
      const refused = /\b40[13]\b/.exec(event?.message ?? "");
      if (socket.readyState !== 1) this.lost(refused ? 4000 + Number(refused[0]) : 1006);
    });
    this.began = this.heard = this.moved = now();
    this.pinged = this.late = 0;
    this.isKnown = false;
    this.pulse = setInterval(() => this.beat(), Math.min(1000, this.silence / 4));
    this.set(this.attempts ? "offline" : "connecting");
  };

  private begin(): void {
    this.began = this.heard = now();
    this.pinged = 0;
    this.set("open");
    this.flush();
  }

  private take(text: unknown): void {
    this.heard = now();
    this.pinged = this.late = 0;
    let message: Message = {};
    try {
      message = Object(JSON.parse(text as string));
    } catch {}
    const { id, status, event_name: name } = message;
    const isOdd = id === undefined ? name == null : typeof status !== "number";
    if (isOdd && !this.isKnown) this.calls.puzzle();
    this.isKnown ||= !isOdd;
    if (id === undefined) return this.onpush(message);
    const call = this.calls.replied(id);
    if (call && isOdd) call.reject(new UnexpectedReply());
    else if (call && message.status === 401 && !call.refused && this.purse.renewable) {
      this.purse.refuse(call.token);
      this.calls.again(call, message);
    } else call?.resolve(message);
    this.flush();
  }

  private flush(): void {
    if (this.status !== "open" || !this.calls.flush(this.purse)) return;
    const { purse } = this;
    purse.ask().then(
      () => this.flush(),
      (error) => purse === this.purse && this.status === "open" && this.calls.fail(error),
    );
  }

  private beat(): void {
    const time = now();
    this.flush(); // Whoever waits for a token may wait in vain.
    const { patience = 10_000 } = this.options;
    if (!this.calls.isStuck) this.moved = time;
    if (time - this.moved > this.silence) this.lost(4000);
    else if (!this.pinged) {
      if (time - this.heard > this.silence) this.ping();
    } else if (time - this.pinged > patience && this.late++) {
      this.lost(4000); // Not at the first beat: after a sleep, what came meanwhile is read only now.
    }
  }

  private ping(): void {
    this.pinged ||= now();
    this.tell({ method: "PING" });
  }

  private lost(code: number): void {
    if (this.status === "open" && now() - this.began > STABLE) {
      this.attempts = 0;
      this.wasRefused = false;
    }
    const isExpired = code === 4401 && !this.wasRefused && this.purse.renewable;
    if (isRefusal(code) && !isExpired) return this.stop(`the server refused the connection with ${code}`);
    if (SLOWLY.has(code)) this.attempts = UNTIRING;
    this.calls.drop(`the connection was lost with ${code}`, code !== 1009); // What was too big would be so again.
    this.letGo();
    const pause = this.jitter(this.attempts++);
    this.retrying = setTimeout(isExpired ? () => this.refresh() : this.connect, pause);
    this.wasRefused ||= isExpired;
    this.set("offline");
  }

  /** Connect with a fresh token: the callback may give the page a new cookie, too. */
  private refresh(): void {
    const retrying = setTimeout(this.connect, PATIENCE);
    this.retrying = retrying;
    const go = () => {
      if (retrying === this.retrying && this.status === "offline" && !this.socket) this.connect();
    };
    this.purse.ask().then(go, go);
  }

  private letGo(): void {
    const { socket } = this;
    this.socket = undefined;
    clearInterval(this.pulse);
    clearTimeout(this.retrying);
    socket?.close();
  }

  private stop(why: string): void {
    this.letGo();
    this.calls.reject(why);
    this.refusal = this.isOver ? undefined : new ConnectionLost(why, false);
    this.set("closed");
  }

  private set(status: Status): void {
    if (status === this.status) return;
    this.status = status;
    for (const watcher of [...this.watchers]) guarded(watcher, status);
  }
}
