/** The calls of a connection: those that wait here, and those in flight. */
import { ConnectionLost, RequestFailed, TimedOut, UnexpectedReply } from "./errors.js";
import type { Purse } from "./purse.js";

export type Message = Record<string, any>;

export interface Call {
  readonly reply: Promise<Message>;
  /** The server may have seen it. */
  sent: boolean;
  /** What it was sent with. */
  token?: string | null;
  /** The reply that refused that token. */
  refused?: Message;
  resolve(reply: Message): void;
  reject(error: unknown): void;
  /** Take it back, or, if it is on its way, wait for its reply no longer. */
  cancel(error: unknown): void;
}

interface Waiting extends Call {
  text: string;
  /** It waits while there is no connection. */
  keeps: boolean;
  /** It may be sent again, as the server runs it once. */
  isOnce: boolean;
}

interface Limits {
  timeout?: number;
  queue?: number;
  concurrency?: number;
}

export class Calls {
  private ids = 0;
  private waiting: Waiting[] = [];
  /** Whoever does not wait any more leaves its place to its reply, as the server is still at it. */
  private readonly flying = new Map<number, Waiting | undefined>();
  private abandoned = 0;
  private readonly timeout: number;
  private readonly most: number;
  private readonly room: number;

  constructor(
    limits: Limits,
    private readonly send: (text: string) => void,
  ) {
    ({ timeout: this.timeout = 30_000, concurrency: this.most = 48, queue: this.room = 256 } = limits);
  }

  /** As many as may be are in flight, and nobody waits for any of them: this connection is of no use. */
  get isStuck(): boolean {
    return this.abandoned >= this.most;
  }

  /** Let a call wait; `isAway`: there is no connection, and not everything waits for the next. */
  add(message: Message, isAway: boolean, timeout = this.timeout, signal?: AbortSignal): Call {
    const isOnce = message.idempotency_key !== undefined;
    const keeps = isOnce || message.method === "GET";
    const call = this.make(JSON.stringify(message), keeps, isOnce, timeout, signal);
    if (signal?.aborted) call.reject(signal.reason);
    else if (isAway && (!keeps || this.waiting.length >= this.room)) call.reject(this.unsent(message));
    else this.waiting.push(call);
    return call;
  }

  private make(text: string, keeps: boolean, isOnce: boolean, timeout: number, signal?: AbortSignal): Waiting {
    const call = { text, keeps, isOnce, sent: false } as { -readonly [K in keyof Waiting]: Waiting[K] };
    call.reply = new Promise<Message>((resolve, reject) => {
      const end =
        <T>(settle: (value: T) => void) =>
        (value: T) => {
          clearTimeout(timer);
          signal?.removeEventListener("abort", abort);
          settle(value);
        };
      const abort = () => call.cancel(signal!.reason);
      const timer = timeout ? setTimeout(() => call.cancel(new TimedOut(call.sent)), timeout) : undefined;
      call.resolve = end(resolve);
      call.reject = end(reject);
      call.cancel = (error) => {
        this.abandon(call);
        call.reject(error);
      };
      signal?.addEventListener("abort", abort);
    });
    return call;
  }

  private unsent({ method }: Message): ConnectionLost {
    const why = `there is no connection, for which GETs wait, and what has a key, ${this.room} at most`;
    return new ConnectionLost(`${method} was not sent: ${why}`, false);
  }

  private abandon(call: Waiting): void {
    this.waiting = this.waiting.filter((other) => other !== call);
    for (const [id, other] of this.flying)
      if (other === call) {
        this.flying.set(id, undefined);
        this.abandoned++;
      }
  }

  /** Send what may be sent; true: a token has to be asked for before that. */
  flush({ fresh }: Purse): boolean {
    while (this.waiting.length && this.flying.size < this.most) {
      if (fresh === undefined) return true;
      const call = this.waiting.shift()!;
      if (call.refused && call.token === fresh) call.resolve(call.refused);
      else this.fly(call, fresh);
    }
    return false;
  }

  private fly(call: Waiting, token: string | null): void {
    const id = ++this.ids;
    this.flying.set(id, call);
    call.sent = true;
    call.token = token;
    this.send(`${call.text.slice(0, -1)},"id":${id}${token === null ? "" : `,"token":${JSON.stringify(token)}`}}`);
  }

  tell(message: Message): void {
    this.send(JSON.stringify({ ...message, id: ++this.ids }));
  }

  /** The call that a reply is for, if somebody waits for it. */
  replied(id: number): Waiting | undefined {
    const call = this.flying.get(id);
    if (this.flying.delete(id) && !call) this.abandoned--;
    return call;
  }

  /** Its token was refused, and so it has not run: it is the first to be sent with another. */
  again(call: Call, refused: Message): void {
    call.refused = refused;
    call.sent = false;
    this.waiting.unshift(call as Waiting);
  }

  /** No token can be had: what waits for it ends. */
  fail(error: unknown): void {
    for (const call of this.waiting.splice(0)) call.reject(error);
  }

  /** The connection is lost. What was sent may have run; of what waits, GET stays, and what the server runs once. */
  drop(why: string, mayRepeat: boolean): void {
    const flying = this.landed();
    const stays = (call: Waiting) => (call.sent ? call.isOnce && mayRepeat : call.keeps);
    const all = [...flying, ...this.waiting];
    this.waiting = all.filter(stays).slice(0, this.room);
    for (const call of all) if (!this.waiting.includes(call)) call.reject(new ConnectionLost(why, call.sent));
  }

  /** Nothing stays. */
  reject(why: string): void {
    for (const call of [...this.landed(), ...this.waiting.splice(0)]) call.reject(new ConnectionLost(why, call.sent));
  }

  /** What came is no reply: those in flight would wait in vain. */
  puzzle(): void {
    for (const call of this.landed()) call.reject(new UnexpectedReply());
  }

  private landed(): Waiting[] {
    const flying = [...this.flying.values()].filter((call) => call !== undefined);
    this.flying.clear();
    this.abandoned = 0;
    return flying;
  }
}

export function checked(reply: Message): Message {
  if (reply.status >= 400) throw new RequestFailed(reply.status, reply.detail, reply.retry);
  return reply;
}
