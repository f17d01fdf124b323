/** The scenarios that each client has to pass, with this one. */
import { afterAll, afterEach, expect, test } from "vitest";
import WebSocket from "ws";
import { type Client, ConnectionLost, createClient, type Event, RequestFailed, type Subscription, TimedOut } from "../src/index.js";
import { type Scenario, type Step, scenarios, World } from "./world.js";

const world = new World();
afterAll(() => world.end());

const kinds: Record<string, new (...args: any[]) => Error> = { failed: RequestFailed, lost: ConnectionLost, late: TimedOut };
const fields: Record<string, string> = { may_have_run: "mayHaveRun" };
const options: Record<string, [string, number]> = {
  queue: ["queue", 1],
  max_in_flight: ["concurrency", 1],
  ping_after: ["silence", 1000],
  dead_after: ["patience", 1000],
};

/** Something that changes, and who waits until it is as they want it. */
class Watched<T> {
  private waiting: (() => void)[] = [];
  constructor(public value: T) {}

  set(value: T): void {
    this.value = value;
    for (const wake of this.waiting.splice(0)) wake();
  }

  async until(fits: (value: T) => boolean): Promise<void> {
    while (!fits(this.value)) await new Promise<void>((resolve) => this.waiting.push(resolve));
  }
}

interface Followed {
  subscription: Subscription<any>;
  changes: AsyncIterator<any>;
  status: Watched<string>;
}

class Run {
  readonly api: Client;
  private readonly calls = new Map<string, Promise<any>>();
  private readonly aborts = new Map<string, AbortController>();
  private readonly followed = new Map<string, Followed>();
  private readonly heard = new Map<string, Watched<Event[]>>();
  private readonly asked = new Watched(0);
  private readonly status: Watched<string>;

  constructor(url: string, scenario: Scenario, tokens: string[]) {
    const token = async () => {
      this.asked.set(this.asked.value + 1);
      return tokens.length > 1 ? tokens.shift()! : tokens[0]!;
    };
    const given = Object.entries(scenario.options ?? {}).map(([name, value]) => [options[name]![0], options[name]![1] * value]);
    this.api = createClient({
      url,
      WebSocket,
      backoff: [5, 10],
      ...(scenario.tokens && { token }),
      ...Object.fromEntries(given),
    });
    this.status = new Watched<string>(this.api.status);
    this.api.onstatus((status) => this.status.set(status));
  }

  step(step: Step): Promise<void> {
    const name = Object.keys(step)[0] as keyof typeof this.steps;
    return this.steps[name](step as never);
  }

  private async judge(outcome: Promise<any>, { gives, fails }: Step): Promise<void> {
    const error = await outcome.then(
      (value) => {
        if (gives !== undefined) expect(value).toEqual(gives);
      },
      (error: unknown) => error,
    );
    if (fails) this.compare(error, fails);
    else if (error !== undefined) throw error;
  }

  private compare(error: unknown, { kind, ...wanted }: Step): void {
    expect(error).toBeInstanceOf(kinds[kind]);
    for (const [name, value] of Object.entries(wanted)) expect(error).toHaveProperty(fields[name] ?? name, value);
  }

  readonly steps = {
    world: async ({ world: command, has = {}, lacks = [] }: Step) => {
      const given = await world.obeys(command);
      if (Object.keys(has).length) expect(given).toMatchObject(has);
      for (const name of lacks) expect(given).not.toHaveProperty(name);
    },
    call: async (step: Step) => {
      const { call: method, url, args, data, timeout, key, as } = step;
      const abort = new AbortController();
      const call: Promise<any> = this.api.request(method, url, {
        args,
        data,
        signal: abort.signal,
        ...(timeout && { timeout: timeout * 1000 }),
        ...(key && { idempotencyKey: key }),
      });
      if (!as) return this.judge(call, step);
      call.catch(() => {});
      this.calls.set(as, call);
      this.aborts.set(as, abort);
    },
    await: (step: Step) => this.judge(this.calls.get(step.await)!, step),
    cancel: async ({ cancel }: Step) => {
      this.aborts.get(cancel)!.abort(new Error("cancelled"));
      await expect(this.calls.get(cancel)).rejects.toThrow("cancelled");
    },
    subscribe: async ({ subscribe: url, as, presence }: Step) => {
      const status = new Watched<string>("stale");
      const subscription = this.api.subscribe(url, { presence, onstatus: (now) => status.set(now) });
      this.followed.set(as, { subscription, changes: subscription[Symbol.asyncIterator](), status });
    },
    events: async ({ events: as }: Step) => {
      await this.status.until((now) => now === "open");
      const heard = new Watched<Event[]>([]);
      this.api.events((event) => heard.set([...heard.value, event]));
      this.heard.set(as, heard);
    },
    next: async (step: Step) => {
      if (step.event) {
        const heard = this.heard.get(step.next)!;
        await heard.until((events) => events.length > 0);
        expect(heard.value.shift()).toEqual(step.event);
        return;
      }
      const next = this.followed.get(step.next)!.changes.next();
      if (step.ends === null) expect(await next).toEqual({ done: true, value: undefined });
      else if (step.ends) await this.judge(next, { fails: step.ends });
      else if ("item" in step) expect((await next).value).toEqual({ type: "item", data: step.item });
      else expect((await next).value).toEqual({ type: "value", data: step.value, lost: step.lost ?? false });
    },
    leave: async ({ leave }: Step) => this.followed.get(leave)!.subscription.close(),
    status: ({ status, is }: Step) => this.followed.get(status)!.status.until((now) => now === is),
    client: ({ client }: Step) => this.status.until((now) => now === client),
    tokens: async ({ tokens }: Step) => {
      await this.asked.until((count) => count >= tokens);
      expect(this.asked.value).toBe(tokens);
    },
    sign_in: async ({ sign_in: who }: Step) => {
      this.api.signIn(who ? await world.obeys({ do: "token", ...who }) : undefined);
    },
    settle: async () => {
      for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
    },
    close: async () => this.api.close(),
  };
}

let run: Run | undefined;
afterEach(() => run?.api.close());

test.each(scenarios.map((scenario) => [scenario.name, scenario] as const))("%s", async (_, scenario) => {
  const { url } = await world.obeys({ do: "begin" });
  const tokens = []; // Made before: the world does one thing after the other, and may be waiting for a call.
  for (const claims of scenario.tokens ?? []) tokens.push(await world.obeys({ do: "token", ...claims }));
  run = new Run(url, scenario, tokens);
  for (const step of scenario.steps) await run.step(step);
});
