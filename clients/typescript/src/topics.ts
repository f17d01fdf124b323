/** What a client subscribes to: one topic for any number of listeners, asked for again with `since` after a drop. */
import { type Call, checked, type Message } from "./calls.js";
import { RequestFailed, UnexpectedReply } from "./errors.js";
import { guarded, type Link, STABLE } from "./link.js";
import { now } from "./purse.js";

/** `value`: what there is now, replace what you had; `lost`: items of a log may be missing before it. `item`: a log's next. */
export type Change<T, I> = { type: "value"; data: T; lost: boolean } | { type: "item"; data: I };
export type TopicStatus = "stale" | "live" | "ended";

export interface Listener {
  onchange(change: Change<any, any>): void;
  onstatus?(status: TopicStatus, error?: unknown): void;
  /** Another user signed in: what has not been looked at is the old one's. */
  onforget?(): void;
  /** It has had its first value. */
  started?: boolean;
}

interface Version {
  text: string;
  epoch: string;
  number: number;
  isLog: boolean;
}

function parsed(text: string): Version {
  const parts = text.split(".");
  return { text, epoch: parts[0]!, number: Number(parts[1]), isLog: parts.length === 2 };
}

export class Topic {
  readonly listeners = new Set<Listener>();
  status: TopicStatus = "stale";
  /** Its name on this connection, once the server has told it. */
  name?: string;
  private since?: Version;
  /** A state's, for who comes later. */
  private value?: { data: unknown };
  /** A log's first value has to be asked for, as somebody has not had it. */
  private isWanted = true;
  private key?: string;
  private keys = new Set<unknown>();
  private call?: Call;
  /** Names that were left since it was asked for, undefined if nobody knows: was one its own, it is not subscribed to. */
  private left: unknown[] = [];
  private token?: string | null;
  private isForgiven = false;
  private attempts = 0;
  private lived = 0;
  private due = 0;
  private timer?: ReturnType<typeof setTimeout>;

  constructor(
    private readonly link: Link,
    readonly request: Message,
    private readonly gone: (isKnown: boolean) => void,
  ) {}

  add(listener: Listener): void {
    this.listeners.add(listener);
    if (this.value) queueMicrotask(() => this.catchUp(listener));
    else if (this.since && !this.isWanted) {
      this.isWanted = true;
      this.ask();
    }
  }

  private catchUp(listener: Listener): void {
    if (listener.started || !this.value || !this.listeners.has(listener)) return;
    this.hand(listener, { type: "value", data: this.value.data, lost: false });
    if (this.status === "live") guarded(() => listener.onstatus?.("live"));
  }

  remove(listener: Listener): void {
    if (this.listeners.delete(listener) && !this.listeners.size) this.end();
  }

  /** The connection is gone, and its subscriptions with it. */
  lost(): void {
    this.name = undefined;
    this.pause();
  }

  /** Another user signed in. */
  forget(): void {
    this.since = this.value = this.key = undefined;
    this.keys.clear();
    this.isWanted = true;
    this.isForgiven = false;
    this.lost();
    for (const listener of [...this.listeners]) {
      listener.started = false;
      guarded(() => listener.onforget?.());
    }
  }

  /** There is a connection: ask, but not before the server wants it. */
  opened(): void {
    const rest = this.due - now();
    if (rest > 0) this.timer = setTimeout(() => this.ask(), rest);
    else this.ask();
  }

  /** SUBSCRIBE, again if need be; a later one takes the place of an earlier one. */
  ask(): void {
    if (this.status === "ended" || this.link.status !== "open") return;
    clearTimeout(this.timer);
    this.call?.cancel(undefined);
    this.left = [];
    const since = this.isWanted ? undefined : this.since?.text;
    const call = (this.call = this.link.call({ method: "SUBSCRIBE", ...this.request, ...(since && { since }) }));
    const mine =
      <A>(act: (argument: A) => void) =>
      (argument: A) => {
        if (call !== this.call) return;
        this.call = undefined;
        act(argument);
      };
    // At once, not by the promise: where two messages come in one read, a push may be next in the same turn.
    const { resolve } = call;
    const replied = mine((reply: Message) => this.replied(call, reply));
    call.resolve = (reply) => {
      resolve(reply);
      replied(reply);
    };
    call.reply.catch(mine((error) => this.failed(error)));
  }

  private replied(call: Call, reply: Message): void {
    try {
      checked(reply);
      if (typeof reply.topic !== "string" || typeof reply.version !== "string") throw new UnexpectedReply();
    } catch (error) {
      return this.failed(error);
    }
    this.token = call.token;
    this.name = reply.topic;
    this.lived = now();
    const version = parsed(reply.version);
    if (reply.status === 200) this.begin(version, reply);
    else if (reply.status === 304) this.since = version; // With 206 it stays, until what was missed comes.
    this.set("live");
    if (this.left.includes(this.name) || this.left.includes(undefined)) this.ask();
  }

  /** UNSUBSCRIBE goes out for the topic of that name, which may be another spelling of this one. */
  leaves(name?: string): void {
    if (this.call) this.left.push(name);
  }

  private begin(version: Version, { data, key }: Message): void {
    const before = this.since;
    if (!version.isLog && this.isOlder(version)) return;
    const lost = version.isLog && before !== undefined && before.text !== version.text;
    this.since = version;
    this.isWanted = false;
    this.key = key;
    this.keys = new Set(key && Array.isArray(data) ? data.map((item) => item?.[key]) : []);
    if (!version.isLog) this.value = { data };
    for (const listener of [...this.listeners]) this.hand(listener, { type: "value", data, lost: lost && listener.started === true });
  }

  push(message: Message): void {
    if (message.status !== undefined) return this.ended(message);
    if (!this.since || typeof message.version !== "string") return;
    const version = parsed(message.version);
    if (version.isLog) this.pushItem(version, message.data);
    else if (!this.isOlder(version)) {
      this.since = version;
      if (!("data" in message)) return; // It is what it was.
      this.value = { data: message.data };
      for (const listener of [...this.listeners]) this.hand(listener, { type: "value", data: message.data, lost: false });
    }
  }

  private pushItem(version: Version, data: any): void {
    const { epoch, number } = this.since!;
    if (version.epoch !== epoch || version.number > number + 1) {
      if (this.status !== "live" || this.call) return; // It is asked for already.
      this.pause();
      return this.later(0);
    }
    if (version.number <= number) return;
    this.since = version;
    if (this.key !== undefined && this.keys.delete(data?.[this.key])) return; // The first value had it.
    for (const listener of [...this.listeners]) if (listener.started) this.hand(listener, { type: "item", data });
  }

  private isOlder({ epoch, number }: Version): boolean {
    return this.since !== undefined && epoch === this.since.epoch && number < this.since.number;
  }

  /** The server ends it: a token that is too old is renewed, but not again and again. */
  private ended({ status, detail, retry }: Message): void {
    this.name = undefined;
    if (now() - this.lived > STABLE) this.isForgiven = false;
    if (status !== 401 || this.isForgiven || !this.link.purse.renewable) {
      return this.failed(new RequestFailed(status, detail, retry));
    }
    this.isForgiven = true;
    this.link.purse.refuse(this.token);
    this.pause();
    this.later(0);
  }

  /** Come back later if that makes sense, else say why it ended. */
  private failed(error: unknown): void {
    this.pause();
    if (error instanceof UnexpectedReply) this.end(error);
    else if (!(error instanceof RequestFailed)) this.later(0);
    else {
      const { status, retry } = error;
      const passes = retry !== undefined || status === 409 || status === 429 || status >= 500;
      if (passes) this.later(retry ?? 0);
      else this.end(error);
    }
  }

  /** Wait for what the server asks, and a part of the back-off; where there is no connection, its opening asks. */
  private later(retry: number): void {
    if (this.lived && now() - this.lived > STABLE) this.attempts = 0;
    this.lived = 0;
    this.due = now() + retry;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(), retry + this.link.jitter(this.attempts++));
  }

  private pause(): void {
    clearTimeout(this.timer);
    this.set("stale");
  }

  end(error?: unknown): void {
    if (this.status === "ended") return;
    const isKnown = this.name !== undefined || this.call?.sent === true;
    const { call } = this;
    this.call = undefined;
    call?.cancel(undefined);
    clearTimeout(this.timer);
    this.set("ended", error);
    this.listeners.clear();
    this.gone(isKnown);
  }

  private hand(listener: Listener, change: Change<any, any>): void {
    if (!this.listeners.has(listener)) return; // One before it has taken it away.
    listener.started = true;
    guarded(() => listener.onchange(change));
  }

  private set(status: TopicStatus, error?: unknown): void {
    if (status === this.status || this.status === "ended") return;
    this.status = status;
    for (const listener of [...this.listeners]) guarded(() => listener.onstatus?.(status, error));
  }
}

/** All topics of a client. */
export class Topics {
  private readonly topics = new Map<string, Topic>();
  private renewal?: ReturnType<typeof setTimeout>;

  constructor(private readonly link: Link) {
    link.watchers.add((status) => {
      this.each((topic) => {
        if (status === "open") topic.opened();
        else if (status === "closed") topic.end(link.refusal);
        else topic.lost();
      });
      this.watchToken();
    });
  }

  /** The topic of `asked`, for another listener. Raises TypeError for what is too large to be asked for. */
  of(asked: Message): Topic {
    const key = canonical(asked);
    if (key.length > LARGEST) throw new TypeError(`a subscription takes at most ${LARGEST} characters of url and args`);
    let topic = this.topics.get(key);
    if (!topic) {
      const made = (topic = new Topic(this.link, asked, (isKnown) => this.remove(key, made, isKnown)));
      this.topics.set(key, made);
      queueMicrotask(() => {
        made.ask();
        this.watchToken();
      });
    }
    return topic;
  }

  push(message: Message): void {
    for (const topic of this.topics.values()) if (topic.name === message.event_name) topic.push(message);
  }

  /** The token is another, and perhaps the user. */
  renewed(another: boolean): void {
    this.each((topic) => (another ? topic.forget() : topic.ask()));
  }

  private remove(key: string, topic: Topic, isKnown: boolean): void {
    this.topics.delete(key);
    // Another spelling of the same url is the same to the server.
    if (isKnown && ![...this.topics.values()].some(({ name }) => name !== undefined && name === topic.name)) {
      this.link.tell({ method: "UNSUBSCRIBE", ...topic.request });
      this.each((other) => other.leaves(topic.name));
    }
  }

  /** Subscriptions live by their token: they get a new one before it expires, also where no call asks for one. */
  private watchToken(): void {
    clearTimeout(this.renewal);
    const { rest } = this.link.purse;
    if (this.link.status !== "open" || !this.topics.size || rest === Infinity) return;
    const pause = Math.max(1000, Math.min(rest, LONGEST));
    this.renewal = setTimeout(() => {
      if (this.link.purse.rest > 0) return this.watchToken();
      const next = () => this.watchToken();
      this.link.purse.ask().then(next, () => (this.renewal = setTimeout(next, FAILED)));
    }, pause);
  }

  private each(act: (topic: Topic) => void): void {
    for (const topic of [...this.topics.values()]) act(topic);
  }
}

const LARGEST = 16_384; // what a server keeps of a subscription
const FAILED = 10_000; // ms after which a token is asked for again where nobody needs it yet
const LONGEST = 2 ** 30; // ms: a timer waits no longer than twice that

/** The same text for the same value, however its keys are ordered. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_, part) =>
    part && typeof part === "object" && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}
