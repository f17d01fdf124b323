/** The WebSocket that the client is given: it says what goes over it, and can be cut and held off. */
import { LOST, Wire } from "./wire.js";

export interface Arrived {
  message: Record<string, any>;
  text: string;
  /** Milliseconds since the request, of a reply. */
  took?: number;
}

export interface Watcher {
  sent(text: string, message: Record<string, any>): void;
  arrived(arrived: Arrived): void;
  noted(text: string): void;
}

const REMEMBERED = 1000; // requests without a reply, whose time is known

function parsed(text: string): Record<string, any> {
  try {
    return Object(JSON.parse(text));
  } catch {
    return {};
  }
}

/** All connections of one client, of which there is one at a time. */
export class Tap {
  /** What came last. The client hands on what a message brings before the next one is read: it is that one's. */
  last?: Arrived;
  isHeld = false;
  private line?: Line;
  private readonly times = new Map<unknown, number>();

  constructor(readonly watcher: Watcher) {}

  /** A class, as `createClient` wants one. */
  get WebSocket(): new (url: string) => any {
    const tap = this;
    return class extends Line {
      constructor(url: string) {
        super(url, tap);
        tap.line = this;
        if (!tap.isHeld) this.dial();
      }
    };
  }

  /** Lose the connection, as a phone in a tunnel does, and have none until `resume`. */
  drop(): void {
    this.isHeld = true;
    this.watcher.noted("dropped here; no connection until Resume");
    this.line?.cut();
  }

  resume(): void {
    this.isHeld = false;
    this.line?.dial();
  }

  sent(text: string): void {
    const message = parsed(text);
    this.times.set(message.id, performance.now());
    if (this.times.size > REMEMBERED) this.times.delete(this.times.keys().next().value);
    this.watcher.sent(text, message);
  }

  arrived(text: string): void {
    const message = parsed(text);
    const began = this.times.get(message.id);
    this.times.delete(message.id);
    this.last = { message, text, took: began === undefined ? undefined : performance.now() - began };
    this.watcher.arrived(this.last);
  }
}

/** One connection, or the wait for it. */
class Line {
  onopen?: () => void;
  onmessage?: (event: { data: unknown }) => void;
  onclose?: (event: { code: number }) => void;
  onerror?: (event: Event) => void;
  private socket?: Wire;
  private isOver = false;

  constructor(
    private readonly url: string,
    private readonly tap: Tap,
  ) {}

  get readyState(): number {
    return this.isOver ? WebSocket.CLOSED : (this.socket?.readyState ?? WebSocket.CONNECTING);
  }

  dial(): void {
    if (this.socket || this.isOver) return;
    const socket = (this.socket = new Wire(this.url));
    socket.onopen = () => {
      this.tap.watcher.noted(`connected to ${this.url}`);
      this.onopen?.();
    };
    socket.onmessage = ({ data }) => {
      if (this.isOver) return; // It comes behind the end.
      this.tap.arrived(data);
      this.onmessage?.({ data });
    };
    socket.onclose = ({ code, reason }) => this.ended(code, reason);
  }

  send(text: string): void {
    this.tap.sent(text);
    this.socket?.send(text);
  }

  close(): void {
    this.isOver = true;
    this.socket?.close();
  }

  /** End at once, whatever the server says. */
  cut(): void {
    this.socket?.close(LOST, "dropped in the console");
    this.ended(LOST, "");
  }

  private ended(code: number, reason: string): void {
    if (this.isOver) return;
    this.isOver = true;
    this.tap.watcher.noted(`closed with ${code}${reason && `: ${reason}`}`);
    this.onclose?.({ code });
  }
}
