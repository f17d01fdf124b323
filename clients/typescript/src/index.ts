/** Client of aiorest-ws: calls, events and subscriptions over one WebSocket that comes back. */
import { checked, type Message } from "./calls.js";
import { guarded, Link, type LinkOptions, type Status } from "./link.js";
import type { Token } from "./purse.js";
import { Reader } from "./reader.js";
import { type Change, type Listener, type TopicStatus, Topics } from "./topics.js";
import type { AnyPaths, CallOptions, Inputs, Item, Method, Operation, Reply, Rest, Urls } from "./types.js";

export { ConnectionLost, Lagged, RequestFailed, TimedOut, UnexpectedReply } from "./errors.js";
export type { AnyPaths, CallOptions, Change, Inputs, Item, Method, Operation, Reply, Rest, Status, Token, TopicStatus, Urls };
export type ClientOptions = LinkOptions;

export interface SubscribeOptions<T> {
  /** Ends the subscription, quietly. */
  signal?: AbortSignal;
  /** Called with each change; what it raises is reported, and ends nothing. Without it, iterate. */
  onchange?: (change: Change<T, Item<T>>) => void;
  /** "live": it keeps up; "stale": it does not, and will again; "ended": it does no more, because of `error`. */
  onstatus?: (status: TopicStatus, error?: unknown) => void;
  /** What others see of who follows it, under `given`, where the route lists that: 1 KiB of JSON at most. */
  presence?: Record<string, unknown>;
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
  url: U,
  ...rest: Rest<Inputs<Operation<P, U, M>> & CallOptions>
) => Promise<Reply<Operation<P, U, M>>>;

export interface Client<P = AnyPaths> {
  get: Call<P, "get">;
  post: Call<P, "post">;
  put: Call<P, "put">;
  patch: Call<P, "patch">;
  delete: Call<P, "delete">;
  request<M extends Method, U extends Urls<P, M>>(
    method: M,
    url: U,
    ...rest: Rest<Inputs<Operation<P, U, M>> & CallOptions>
  ): Promise<Reply<Operation<P, U, M>>>;
  subscribe<U extends Urls<P, "get">>(
    url: U,
    ...rest: Rest<Inputs<Operation<P, U, "get">> & SubscribeOptions<Reply<Operation<P, U, "get">>>>
  ): Subscription<Reply<Operation<P, U, "get">>>;
  /** Events that belong to no subscription. Gives a function that ends it, as do the next two. */
  events(callback: (event: Event) => void): () => void;
  readonly status: Status;
  onstatus(callback: (status: Status) => void): () => void;
  /** Another user is here: what is kept of the old one is to be forgotten. */
  onuser(callback: () => void): () => void;
  /** Go on as another user, or as nobody: a new connection, and what was known of subscriptions is forgotten. */
  signIn(token?: Token): void;
  /** For good. Calls fail with `ConnectionLost`, subscriptions end. */
  close(): void;
}

/** `/orders/{id}` with `{id: 7}` is `/orders/7`. Raises TypeError for what would lead elsewhere. */
function filled(url: string, path: Record<string, unknown> = {}): string {
  return url.replace(/\{([^}:]+)(:[^}]*)?\}/g, (_, name: string, kind?: string) => {
    const value = String(path[name] ?? "");
    if (value === "" || (value.includes("/") && kind !== ":path")) {
      throw new TypeError(`${url} needs path.${name}, which is not empty and has no slash, got "${value}"`);
    }
    return value;
  });
}

export function createClient<P = AnyPaths>(options: ClientOptions): Client<P> {
  const link = new Link(options);
  const topics = new Topics(link);
  const hearers = new Set<(event: Event) => void>();
  const forgetters = new Set<() => void>();

  link.onrenewed = (another) => {
    topics.renewed(another);
    if (another) for (const forget of [...forgetters]) guarded(forget);
  };

  link.onpush = (message) => {
    const { event_name: name, data } = message;
    if (message.version !== undefined || message.status !== undefined) topics.push(message);
    else if (typeof name === "string") for (const hearer of [...hearers]) guarded(hearer, { name, data });
  };

  const request = async (method: string, url: string, given: any = {}): Promise<any> => {
    const { path, args, data, idempotencyKey, timeout, signal } = given;
    const message: Message = { method: method.toUpperCase(), url: filled(url, path), args, data, idempotency_key: idempotencyKey };
    return checked(await link.call(message, timeout, signal).reply).data;
  };

  const subscribe = (url: string, { path, args, presence, signal, onchange, onstatus }: any = {}): Subscription<any> => {
    const close = () => {
      signal?.removeEventListener("abort", close);
      topic?.remove(listener);
      reader?.end();
    };
    const reader = onchange ? undefined : new Reader(() => close());
    const listener: Listener = {
      onchange: (change) => (onchange ? onchange(change) : reader!.put(change)),
      onstatus: (status, error) => {
        if (status === "ended") {
          signal?.removeEventListener("abort", close);
          reader?.end(error);
        }
        onstatus?.(status, error);
      },
      onforget: () => reader?.forget(),
    };
    const asked = { url: filled(url, path), args, presence };
    const topic = link.status === "closed" ? undefined : topics.of(asked);
    topic?.add(listener);
    if (!topic) {
      const { end } = link;
      queueMicrotask(() => guarded(() => listener.onstatus!("ended", end)));
    }
    if (signal?.aborted) close();
    else signal?.addEventListener("abort", close);
    return {
      get status() {
        return topic?.listeners.has(listener) ? topic.status : "ended";
      },
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
    get: verb("GET"),
    post: verb("POST"),
    put: verb("PUT"),
    patch: verb("PATCH"),
    delete: verb("DELETE"),
    request,
    subscribe,
    events: (callback: (event: Event) => void) => watch(hearers, callback),
    get status() {
      return link.status;
    },
    onstatus: (callback: (status: Status) => void) => watch(link.watchers, callback),
    onuser: (callback: () => void) => watch(forgetters, callback),
    signIn: (token?: Token) => link.become(token),
    close: () => link.close(),
  } as Client<P>;
}
