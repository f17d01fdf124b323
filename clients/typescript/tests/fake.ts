/** A WebSocket that the test moves by hand, and a client over it; time stands still but for `pass()`. */
import { afterEach, beforeEach, vi } from "vitest";
import { type AnyPaths, type Client, type ClientOptions, createClient } from "../src/index.js";

export class FakeSocket {
  static all: FakeSocket[] = [];
  static get last(): FakeSocket {
    return FakeSocket.all.at(-1)!;
  }

  readyState = 0;
  sent: any[] = [];
  onopen?: () => void;
  onmessage?: (event: { data: unknown }) => void;
  onclose?: (event: { code: number }) => void;
  onerror?: (event: { message?: string }) => void;

  constructor(readonly url: string) {
    FakeSocket.all.push(this);
  }

  send(text: string): void {
    if (this.readyState !== 1) throw new Error("not open");
    this.sent.push(JSON.parse(text));
  }

  close(): void {
    this.readyState = 3;
  }

  async opens(): Promise<void> {
    this.readyState = 1;
    this.onopen?.();
    await settled();
  }

  async says(message: unknown): Promise<void> {
    this.onmessage?.({ data: typeof message === "string" ? message : JSON.stringify(message) });
    await settled();
  }

  /** Answer the last request that fits. */
  async replies(method: string, reply: Record<string, unknown>): Promise<void> {
    const { id } = this.asked(method).at(-1)!;
    await this.says({ id, status: 200, ...reply });
  }

  async closes(code = 1006): Promise<void> {
    this.readyState = 3;
    this.onclose?.({ code });
    await settled();
  }

  asked(method?: string): any[] {
    return this.sent.filter((message) => !method || message.method === method);
  }
}

/** What has been promised by now has come. */
export const settled = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
};

export const pass = async (milliseconds: number): Promise<void> => {
  await vi.advanceTimersByTimeAsync(milliseconds);
  await settled();
};

const clients: Client[] = [];

export function client<P = AnyPaths>(options: Partial<ClientOptions> = {}): Client<P> {
  const made = createClient<P>({ url: "ws://test", WebSocket: FakeSocket, ...options });
  clients.push(made as Client);
  return made;
}

export async function opened<P = AnyPaths>(options: Partial<ClientOptions> = {}): Promise<{ api: Client<P>; socket: FakeSocket }> {
  const api = client<P>(options);
  await FakeSocket.last.opens();
  return { api, socket: FakeSocket.last };
}

/** A JSON Web Token that nobody has signed. */
export const jwt = (claims: Record<string, unknown>): string => `h.${btoa(JSON.stringify(claims))}.s`;

/** What became of a promise: its value, its error, or nothing yet. */
export function outcome<T>(promise: Promise<T>): { value?: T; error?: any; isOver: boolean } {
  const seen: { value?: T; error?: any; isOver: boolean } = { isOver: false };
  promise.then(
    (value) => Object.assign(seen, { value, isOver: true }),
    (error) => Object.assign(seen, { error, isOver: true }),
  );
  return seen;
}

export function withFakeTime(): void {
  beforeEach(() => {
    FakeSocket.all = [];
    vi.useFakeTimers();
  });
  afterEach(() => {
    for (const each of clients.splice(0)) each.close();
    vi.useRealTimers();
    vi.restoreAllMocks();
    vi.unstubAllGlobals();
  });
}
