/** What a client subscribes to: one topic for any number of listeners, asked for again with `since` after a drop. */
import { ConnectionLost, RequestFailed } from "./errors.js";
import { checked, guarded, type Link, type Message } from "./link.js";

/** `value`: what there is now, replace what you had; `lost`: items of a log may be missing before it. `item`: a log's next. */
export type Change<T, I> = { type: "value"; data: T; lost: boolean } | { type: "item"; data: I };
export type TopicStatus = "stale" | "live" | "ended";

export interface Listener {
  onchange(change: Change<any, any>): void;
  onstatus?(status: TopicStatus, error?: unknown): void;
}

const numbers = (version: string): [string, number] => {
  const [epoch, number] = version.split(".");
  return [epoch!, Number(number)];
};
const isLog = (version: string) => version.split(".").length === 2;

export class Topic {
  readonly listeners = new Set<Listener>();
  status: TopicStatus = "stale";
  name?: string;
  value: { data: any } | undefined;
  private since?: string;
  private turn = 0;
  private attempts = 0;
  private lived = 0;
  private timer?: ReturnType<typeof setTimeout>;

  constructor(private readonly link: Link, readonly request: Message, private readonly gone: () => void) {}

  add(listener: Listener): void {
    this.listeners.add(listener);
    if (this.value && this.since && !isLog(this.since)) {
      const { data } = this.value;
      guarded(() => listener.onchange({ type: "value", data, lost: false }));
      guarded(() => listener.onstatus?.(this.status));
    } else if (this.listeners.size > 1) void this.ask(true);
  }

  remove(listener: Listener): void {
    if (!this.listeners.delete(listener) || this.listeners.size || this.status === "ended") return;
    this.link.tell({ method: "UNSUBSCRIBE", ...this.request });
    this.end();
  }

  forget(): void {
    this.since = this.value = undefined;
    this.stale();
  }

  stale(): void {
    this.turn++;
    clearTimeout(this.timer);
    this.set("stale");
  }

  /** SUBSCRIBE, again if need be; a later call takes the place of an earlier one. */
  async ask(whole = false): Promise<void> {
    if (this.status === "ended") return;
    const turn = ++this.turn;
    clearTimeout(this.timer);
    const since = whole ? undefined : this.since;
    try {
      const reply = checked(await this.link.ask({ method: "SUBSCRIBE", ...this.request, ...(since && { since }) }));
      if (turn === this.turn) this.take(reply);
    } catch (error) {
      if (turn === this.turn) this.failed(error);
    }
  }

  push(message: Message): void {
    if (message.status !== undefined) return this.failed(new RequestFailed(message.status, message.detail, message.retry));
    const { version, data } = message;
    const [epoch, number] = numbers(version);
    const [ours, last] = this.since ? numbers(this.since) : [epoch, -1];
    if (isLog(version)) {
      if (epoch !== ours || number > last + 1) return this.again(); // A gap: ask for what is missing.
      if (number <= last) return;
      this.since = version;
      return this.tell({ type: "item", data });
    }
    if (epoch === ours && number < last) return;
    this.since = version;
    if ("data" in message) this.replace(data, false);
  }

  private take(reply: Message): void {
    this.name = reply.topic;
    this.lived = Date.now();
    if (reply.status === 200) {
      const lost = isLog(reply.version) && this.since !== undefined && this.since !== reply.version;
      this.since = reply.version;
      this.replace(reply.data, lost);
    } else if (reply.status === 304 && reply.version) this.since = reply.version;
    this.set("live");
  }

  private again(): void {
    this.stale();
    void this.ask();
  }

  /** Come back later if that makes sense, else say why it ended. */
  private failed(error: unknown): void {
    if (this.status === "ended") return;
    this.stale();
    if (error instanceof ConnectionLost) {
      if (this.link.status === "closed") this.end(error);
      else if (this.link.status === "open") this.later(0);
      return; // Else it is asked for when there is a connection again.
    }
    const { status, retry } = error as RequestFailed;
    const passes = !(error instanceof RequestFailed) || retry !== undefined || status === 429 || status === 409 || status >= 500;
    if (passes) this.later(retry ?? 0);
    else this.end(error);
  }

  private later(retry: number): void {
    if (this.lived && Date.now() - this.lived > 30000) this.attempts = 0;
    this.timer = setTimeout(() => void this.ask(), retry + this.link.jitter(this.attempts++));
  }

  end(error?: unknown): void {
    this.turn++;
    clearTimeout(this.timer);
    this.set("ended", error);
    this.listeners.clear();
    this.gone();
  }

  private replace(data: any, lost: boolean): void {
    this.value = { data };
    this.tell({ type: "value", data, lost });
  }

  private tell(change: Change<any, any>): void {
    for (const listener of [...this.listeners]) guarded(() => listener.onchange(change));
  }

  private set(status: TopicStatus, error?: unknown): void {
    if (status === this.status) return;
    this.status = status;
    for (const listener of [...this.listeners]) guarded(() => listener.onstatus?.(status, error));
  }
}
