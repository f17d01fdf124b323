/** One connection that comes back: calls by id, a queue while it is away, PING, back-off. */
import { ConnectionLost, RequestFailed, TimedOut } from "./errors.js";

export type Status = "connecting" | "open" | "offline" | "closed";
export type Token = string | (() => string | null | Promise<string | null>);
export type Message = Record<string, any>;

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
  url: string;
  token?: Token;
  WebSocket?: new (url: string) => any;
  /** Milliseconds for a call that says nothing else: 30 s; 0: no limit. */
  timeout?: number;
  /** Least and greatest bound of the back-off in ms, of which a random part is waited: 500 and 20,000. */
  backoff?: [number, number];
  /** Calls that may wait here: 256. */
  queue?: number;
  /** ms of silence before a PING, and ms after it before the connection counts as dead: 25,000 and 10,000. */
  silence?: number;
  patience?: number;
}

interface Call {
  message: Message;
  resolve(reply: Message): void;
  reject(error: unknown): void;
  sent: boolean;
}

const IN_FLIGHT = 48;
const REFUSED = new Set([1008, 4403]);

/** Run what the user gave; what it raises is reported where the user sees it, and disturbs nothing here. */
export function guarded<A extends unknown[]>(callback: ((...args: A) => void) | undefined, ...args: A): void {
  try {
    callback?.(...args);
  } catch (error) {
    setTimeout(() => { throw error; });
  }
}

export class Link {
  status: Status = "connecting";
  readonly watchers = new Set<(status: Status) => void>();
  onpush: (message: Message) => void = () => {};
  private socket?: Socket;
  private ids = 0;
  private waiting: Call[] = [];
  private readonly flying = new Map<number, Call>();
  private attempts = 0;
  private opened = 0;
  private heard = 0;
  private pinged = 0;
  private refused = false;
  private retrying?: ReturnType<typeof setTimeout>;
  private pulse?: ReturnType<typeof setInterval>;
  private asked?: Promise<string | null>;
  private known: string | null = null;
  private readonly Kind: new (url: string) => Socket;

  constructor(private readonly options: LinkOptions) {
    const Kind = options.WebSocket ?? (globalThis as any).WebSocket;
    if (!Kind) throw new TypeError("no WebSocket here: give one, as createClient({url, WebSocket})");
    if (!/^wss?:\/\//.test(options.url)) throw new TypeError(`the url begins with ws:// or wss://, not as ${options.url}`);
    this.Kind = Kind;
    globalThis.addEventListener?.("online", this.wake);
    (globalThis as any).document?.addEventListener?.("visibilitychange", this.wake);
    this.connect();
  }

  /** Ask, with a token; at 401 once more with a new one. */
  async ask(message: Message, timeout = this.options.timeout ?? 30000, signal?: AbortSignal): Promise<Message> {
    const token = await this.token(false);
    const reply = await this.send(token ? { ...message, token } : message, timeout, signal);
    if (reply.status !== 401 || typeof this.options.token !== "function") return reply;
    const renewed = await this.token(true);
    return renewed && renewed !== token ? this.send({ ...message, token: renewed }, timeout, signal) : reply;
  }

  close(): void {
    if (this.status === "closed") return;
    globalThis.removeEventListener?.("online", this.wake);
    (globalThis as any).document?.removeEventListener?.("visibilitychange", this.wake);
    this.stop("the client was closed", 1000);
  }

  /** Take another user's token from here on: a new connection, as the old one is the old user's. */
  become(token?: Token): void {
    this.options.token = token;
    this.known = null;
    this.asked = undefined;
    this.drop("the user changed");
    if (this.status !== "closed") this.connect();
  }

  /** When the token at hand expires, in ms since 1970, if it says so. */
  get expiry(): number | undefined {
    try {
      const body = this.known!.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/");
      const { exp } = JSON.parse(atob(body));
      return typeof exp === "number" ? exp * 1000 : undefined;
    } catch {
      return undefined;
    }
  }

  /** A part of the back-off's bound, all of it equally likely. */
  jitter(attempts: number): number {
    const [least, most] = this.options.backoff ?? [500, 20000];
    return Math.random() * Math.min(most, least * 2 ** Math.min(attempts, 16));
  }

  private async token(anew: boolean): Promise<string | null> {
    const { token } = this.options;
    if (typeof token !== "function") return token ?? null;
    if (!anew && this.known && (this.expiry ?? Infinity) > Date.now() + 30000) return this.known;
    this.asked ??= Promise.resolve().then(token).finally(() => { this.asked = undefined; });
    const answer = await this.asked;
    if (this.options.token === token) this.known = answer;
    return answer;
  }

  private send(message: Message, timeout: number, signal?: AbortSignal): Promise<Message> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const why = this.refusal(message);
      if (why) return reject(new ConnectionLost(why, false));
      const id = ++this.ids;
      const end = <T>(settle: (value: T) => void) => (value: T) => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
        settle(value);
      };
      const call: Call = { message: { ...message, id }, resolve: end(resolve), reject: end(reject), sent: false };
      const forget = (error: unknown) => {
        this.flying.delete(id);
        this.waiting = this.waiting.filter((other) => other !== call);
        call.reject(error);
        this.flush();
      };
      const abort = () => forget(signal!.reason);
      const timer = timeout ? setTimeout(() => forget(new TimedOut(call.sent)), timeout) : undefined;
      signal?.addEventListener("abort", abort);
      this.waiting.push(call);
      this.flush();
    });
  }

  private refusal({ method }: Message): string | undefined {
    if (this.status === "closed") return "the client is closed";
    if (this.status === "offline" && method !== "GET" && method !== "SUBSCRIBE") return `${method} is not kept while there is no connection`;
    if (this.waiting.length >= (this.options.queue ?? 256)) return "too many calls wait: await some before the next";
    return undefined;
  }

  private flush(): void {
    while (this.status === "open" && this.waiting.length && this.flying.size < IN_FLIGHT) {
      const call = this.waiting.shift()!;
      let text: string;
      try {
        text = JSON.stringify(call.message);
      } catch (error) {
        call.reject(error);
        continue;
      }
      this.flying.set(call.message.id, call);
      call.sent = true;
      this.socket!.send(text);
    }
  }

  /** Send what waits for no room: UNSUBSCRIBE and PING; nobody waits for the reply. */
  tell(message: Message): void {
    if (this.status === "open") this.socket!.send(JSON.stringify({ ...message, id: ++this.ids }));
  }

  private readonly wake = (): void => {
    if ((globalThis as any).document?.visibilityState === "hidden") return;
    if (this.status === "open") this.ping();
    else if (this.status === "offline") this.connect();
  };

  private connect(): void {
    clearTimeout(this.retrying);
    this.set(this.attempts ? "offline" : "connecting");
    const socket = (this.socket = new this.Kind(this.options.url));
    socket.onopen = () => socket === this.socket && this.begin();
    socket.onmessage = (event: { data: unknown }) => socket === this.socket && this.take(event.data);
    socket.onerror = () => {};
    socket.onclose = (event: { code: number }) => socket === this.socket && this.lost(event.code);
    clearInterval(this.pulse);
    this.heard = this.opened = Date.now();
    this.pinged = 0;
    this.pulse = setInterval(() => this.beat(), Math.min(1000, (this.options.silence ?? 25000) / 4));
  }

  private begin(): void {
    this.opened = this.heard = Date.now();
    this.set("open");
    this.flush();
  }

  private take(text: unknown): void {
    this.heard = Date.now();
    this.pinged = 0;
    let message: Message;
    try {
      message = JSON.parse(text as string);
    } catch {
      return; // Not this protocol's: calls end by their timeouts.
    }
    if (message === null || typeof message !== "object") return;
    if (message.id === undefined) return this.onpush(message);
    this.refused = false;
    const call = this.flying.get(message.id);
    this.flying.delete(message.id);
    call?.resolve(message);
    this.flush();
  }

  private beat(): void {
    const now = Date.now();
    if (this.flying.size >= IN_FLIGHT) this.heard = Math.max(this.heard, now - (this.options.silence ?? 25000));
    else if (this.pinged && now - this.pinged > (this.options.patience ?? 10000)) this.lost(4000);
    else if (!this.pinged && now - this.heard > (this.options.silence ?? 25000)) this.ping();
  }

  private ping(): void {
    this.pinged ||= Date.now();
    this.tell({ method: "PING" });
  }

  private lost(code: number): void {
    if (REFUSED.has(code) || (code === 4401 && (this.refused || typeof this.options.token !== "function")))
      return this.stop(`the server refused the connection with ${code}`, 1000);
    if (code === 4401) {
      this.refused = true;
      this.known = null;
    }
    if (this.status === "open" && Date.now() - this.opened > 30000) this.attempts = 0;
    this.drop(`the connection was lost with ${code}`);
    this.set("offline");
    this.retrying = setTimeout(() => this.connect(), this.jitter(this.attempts++));
  }

  /** Let the connection go: what was sent may have run; of what waits, GET and SUBSCRIBE stay. */
  private drop(why: string): void {
    const socket = this.socket;
    this.socket = undefined;
    clearInterval(this.pulse);
    clearTimeout(this.retrying);
    socket?.close();
    const calls = [...this.flying.values()];
    this.flying.clear();
    const stays = ({ message }: Call) => message.method === "GET";
    calls.push(...this.waiting.filter((call) => !stays(call)));
    this.waiting = this.waiting.filter(stays);
    for (const call of calls) call.reject(new ConnectionLost(why, call.sent));
  }

  private stop(why: string, _code: number): void {
    const waiting = this.waiting;
    this.waiting = [];
    this.drop(why);
    this.set("closed");
    for (const call of waiting) call.reject(new ConnectionLost(why, false));
  }

  private set(status: Status): void {
    if (status === this.status) return;
    this.status = status;
    for (const watcher of [...this.watchers]) guarded(watcher, status);
  }
}

export function checked(reply: Message): Message {
  if (reply.status >= 400) throw new RequestFailed(reply.status, reply.detail, reply.retry);
  return reply;
}
