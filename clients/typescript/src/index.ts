/** Client of aiorest-ws: calls, events and subscriptions over one WebSocket that comes back. */
import { Lagged } from "./errors.js";
import { checked, guarded, Link, type LinkOptions, type Message, type Status, type Token } from "./link.js";
import { Topic, type Change, type Listener, type TopicStatus } from "./topics.js";
import type { AnyPaths, CallOptions, Inputs, Item, Method, Operation, Reply, Rest, Urls } from "./types.js";

export { ConnectionLost, Lagged, RequestFailed, TimedOut } from "./errors.js";
export type { AnyPaths, CallOptions, Change, Inputs, Item, Method, Operation, Reply, Rest, Status, Token, TopicStatus, Urls };
export type ClientOptions = LinkOptions;

export interface SubscribeOptions<T> {
  signal?: AbortSignal;
  /** Called with each change; what it raises is reported, and ends nothing. Without it, iterate. */
  onchange?: (change: Change<T, Item<T>>) => void;
  onstatus?: (status: TopicStatus, error?: unknown) => void;
}

export interface Subscription<T> extends AsyncIterable<Change<T, Item<T>>> {
  readonly status: TopicStatus;
  close(): void;
}

export interface Event {
  name: string;
  data: any;
}

type Call<P, M extends Method> = <U extends Urls<P, M>>(
  url: U, ...rest: Rest<Inputs<Operation<P, U, M>> & CallOptions>
) => Promise<Reply<Operation<P, U, M>>>;

export interface Client<P = AnyPaths> {
  get: Call<P, "get">;
  post: Call<P, "post">;
  put: Call<P, "put">;
  patch: Call<P, "patch">;
  delete: Call<P, "delete">;
  request<M extends Method, U extends Urls<P, M>>(
    method: M, url: U, ...rest: Rest<Inputs<Operation<P, U, M>> & CallOptions>
  ): Promise<Reply<Operation<P, U, M>>>;
  subscribe<U extends Urls<P, "get">>(
    url: U,
    ...rest: Rest<Inputs<Operation<P, U, "get">> & SubscribeOptions<Reply<Operation<P, U, "get">>>>
  ): Subscription<Reply<Operation<P, U, "get">>>;
  /** Events that belong to no subscription. Gives a function that ends it. */
  events(callback: (event: Event) => void): () => void;
  readonly status: Status;
  onstatus(callback: (status: Status) => void): () => void;
  /** Go on as another user, or as nobody: a new connection, and what was known of subscriptions is forgotten. */
  signIn(token?: Token): void;
  close(): void;
}

const WAITING = 1024;

/** Changes for `for await`: of a value only the last waits, of items so many that nothing piles up. */
class Reader implements AsyncIterator<any> {
  private changes: Change<any, any>[] = [];
  private wakes: (() => void)[] = [];
  private done = false;
  private error: unknown;

  constructor(private readonly leave: () => void) {}

  put(change: Change<any, any>): void {
    if (this.done) return;
    if (change.type === "value") this.changes = [{ ...change, lost: change.lost || this.changes.some((other) => other.type === "item") }];
    else if (this.changes.push(change) > WAITING) {
      this.changes = [];
      this.end(new Lagged(WAITING));
      this.leave();
    }
    this.wake();
  }

  end(error?: unknown): void {
    if (this.done) return;
    this.done = true;
    this.error = error;
    this.wake();
  }

  async next(): Promise<IteratorResult<any>> {
    while (!this.changes.length && !this.done) await new Promise<void>((resolve) => this.wakes.push(resolve));
    if (this.changes.length) return { done: false, value: this.changes.shift() };
    const { error } = this;
    this.error = undefined;
    if (error !== undefined) throw error;
    return { done: true, value: undefined };
  }

  async return(): Promise<IteratorResult<any>> {
    this.end();
    this.leave();
    return { done: true, value: undefined };
  }

  private wake(): void {
    for (const wake of this.wakes.splice(0)) wake();
  }
}

/** `/orders/{id}` with `{id: 7}` is `/orders/7`. */
function filled(url: string, path: Record<string, unknown> = {}): string {
  return url.replace(/\{([^}:]+)(:[^}]*)?\}/g, (_, name: string) => {
    if (!(name in path)) throw new TypeError(`${url} needs path: {${name}: …}`);
    return String(path[name]);
  });
}

/** The same text for the same value, however its keys are ordered. */
const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, part) =>
    part && typeof part === "object" && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1))) : part);

export function createClient<P = AnyPaths>(options: ClientOptions): Client<P> {
  const link = new Link({ ...options });
  const topics = new Map<string, Topic>();
  const hearers = new Set<(event: Event) => void>();
  let renewal: ReturnType<typeof setTimeout> | undefined;

  /** Subscriptions get a fresh token before the old one expires; longer than a timer can wait is waited in parts. */
  const renew = () => {
    clearTimeout(renewal);
    if (link.status !== "open" || typeof options.token !== "function" || !link.expiry) return;
    const rest = link.expiry - Date.now() - 30000;
    renewal = setTimeout(() => {
      if (rest <= 2 ** 30) for (const topic of topics.values()) void topic.ask().then(renew);
      else renew();
    }, Math.max(1000, Math.min(rest, 2 ** 30)));
  };

  link.watchers.add((status) => {
    for (const topic of [...topics.values()]) {
      if (status === "open") void topic.ask().then(renew);
      else if (status === "closed") topic.end();
      else topic.stale();
    }
    if (status !== "open") clearTimeout(renewal);
  });

  link.onpush = (message) => {
    const { event_name: name } = message;
    if (message.version === undefined && message.status === undefined)
      for (const hearer of [...hearers]) guarded(hearer, { name, data: message.data });
    else for (const topic of [...topics.values()]) if (topic.name === name) topic.push(message);
  };

  const request = async (method: string, url: string, { path, args, data, timeout, signal }: any = {}): Promise<any> => {
    const message: Message = { method: method.toUpperCase(), url: filled(url, path) };
    if (args !== undefined) message.args = args;
    if (data !== undefined) message.data = data;
    return checked(await link.ask(message, timeout, signal)).data;
  };

  const topicOf = (asked: Message): Topic => {
    const key = canonical(asked);
    let topic = topics.get(key);
    if (!topic) {
      const made = new Topic(link, asked, () => topics.get(key) === made && topics.delete(key));
      topics.set(key, (topic = made));
      // Where there is no connection yet, its opening asks.
      if (link.status === "open") queueMicrotask(() => void made.ask().then(renew));
    }
    return topic;
  };

  const subscribe = (url: string, { path, args, signal, onchange, onstatus }: any = {}): Subscription<any> => {
    if (link.status === "closed") throw new TypeError("the client is closed");
    const asked = { url: filled(url, path), ...(args && { args }) };
    const topic = topicOf(asked);
    const close = () => {
      signal?.removeEventListener("abort", close);
      topic.remove(listener);
      reader?.end();
    };
    const reader = onchange ? undefined : new Reader(() => close());
    const listener: Listener = {
      onchange: (change) => (onchange ? onchange(change) : reader!.put(change)),
      onstatus: (status, error) => {
        if (status === "ended") reader?.end(error);
        onstatus?.(status, error);
      },
    };
    topic.add(listener);
    if (signal?.aborted) close();
    else signal?.addEventListener("abort", close);
    return {
      get status() { return topic.listeners.has(listener) ? topic.status : "ended"; },
      close,
      [Symbol.asyncIterator]: () => {
        if (!reader) throw new TypeError("a subscription with onchange is not iterated");
        return reader;
      },
    };
  };

  const watch = <T>(set: Set<T>, callback: T) => {
    set.add(callback);
    return () => void set.delete(callback);
  };
  const verb = (method: string) => (url: string, given?: any) => request(method, url, given);

  return {
    get: verb("GET"), post: verb("POST"), put: verb("PUT"), patch: verb("PATCH"), delete: verb("DELETE"),
    request, subscribe,
    events: (callback: (event: Event) => void) => watch(hearers, callback),
    get status() { return link.status; },
    onstatus: (callback: (status: Status) => void) => watch(link.watchers, callback),
    signIn: (token?: Token) => {
      options = { ...options, token };
      for (const topic of topics.values()) topic.forget();
      link.become(token);
    },
    close: () => link.close(),
  } as Client<P>;
}
