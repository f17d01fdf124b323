/**
 * A WebSocket in a worker. While message upon message comes to a page, each as a task of its own, Chromium draws one
 * frame in a tenth of a second. Here they come to the worker, and from there by the many; in the page each is a task, as
 * it would be, and after some milliseconds of them a frame has its turn.
 */

/** What the worker tells: a message; that it is open, as `null`; or the end. */
type Told = string | null | End;

interface End {
  code: number;
  reason: string;
}

const PAUSE = 16; // ms between two times that the worker tells something: about a frame
const SPELL = 8; // ms that messages may take before a frame has its turn
const COVERED = 100; // ms after which they go on without one, which a page has that is not seen, and does not know it
const MOST = 100_000; // messages that wait to be read: a server that sends more than that has to be left
export const LOST = 4000; // of the codes that are for applications to use: the client comes back after it

/** In the page: what is used of a WebSocket. */
export class Wire {
  onopen?: () => void;
  onmessage?: (event: { data: string }) => void;
  onclose?: (event: End) => void;
  readyState: number = WebSocket.CONNECTING;
  private readonly worker = new Worker(import.meta.url, { type: "module" });
  private readonly turns = new MessageChannel();
  private told: Told[] = [];
  private read = 0; // of `told`
  private isTurn = false; // one is to come
  private began = 0; // when messages had their turn

  constructor(url: string) {
    this.worker.onmessage = ({ data }) => this.heard(data);
    this.worker.onerror = ({ message }) => this.heard([{ code: 1006, reason: message || "no worker" }]);
    this.turns.port1.onmessage = () => this.turn();
    this.worker.postMessage(url);
  }

  send(text: string): void {
    this.worker.postMessage(text);
  }

  close(code = 1000, reason = ""): void {
    if (this.readyState >= WebSocket.CLOSING) return;
    this.readyState = WebSocket.CLOSING;
    this.worker.postMessage({ code, reason });
  }

  private heard(told: Told[]): void {
    if (this.read === this.told.length) this.began = performance.now();
    this.told = this.told.slice(this.read).concat(told);
    this.read = 0;
    if (this.told.length > MOST) this.close(LOST, "the page is too slow for what comes");
    this.goOn();
  }

  private goOn(): void {
    if (this.isTurn || this.read === this.told.length) return;
    this.isTurn = true;
    if (document.hidden || performance.now() - this.began < SPELL) this.turns.port2.postMessage(null);
    else this.goOnAfterFrame();
  }

  private goOnAfterFrame(): void {
    const goOn = () => {
      cancelAnimationFrame(frame);
      clearTimeout(timer);
      this.began = performance.now();
      this.turns.port2.postMessage(null);
    };
    const frame = requestAnimationFrame(goOn);
    const timer = setTimeout(goOn, COVERED);
  }

  private turn(): void {
    this.isTurn = false;
    const told = this.told[this.read++]!;
    this.goOn();
    if (typeof told === "string") this.onmessage?.({ data: told });
    else if (told === null) this.opened();
    else this.ended(told);
  }

  private opened(): void {
    if (this.readyState !== WebSocket.CONNECTING) return;
    this.readyState = WebSocket.OPEN;
    this.onopen?.();
  }

  private ended(end: End): void {
    this.readyState = WebSocket.CLOSED;
    this.turns.port1.close();
    this.worker.terminate();
    this.onclose?.(end);
  }
}

/** In the worker: have one WebSocket, of which the page hears. */
export function serve(): void {
  onmessage = ({ data: url }) => {
    const told = teller();
    const end = ({ code, reason }: End) => told({ code, reason }, true);
    let socket: WebSocket;
    try {
      socket = new WebSocket(url);
    } catch (error) {
      return end({ code: 1006, reason: (error as Error).message });
    }
    socket.onopen = () => told(null);
    socket.onmessage = ({ data }) => told(String(data)); // bytes are not asked for
    socket.onclose = end;
    onmessage = ({ data }) => {
      if (typeof data !== "string") socket.close(data.code, data.reason);
      else if (socket.readyState === WebSocket.OPEN) socket.send(data);
    };
  };
}

/** Who tells the page: at once after a silence, else what has come since. */
function teller(): (what: Told, isLast?: boolean) => void {
  let waiting: Told[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;
  let last = -PAUSE;
  const tell = () => {
    clearTimeout(timer);
    timer = undefined;
    last = performance.now();
    postMessage(waiting);
    waiting = [];
  };
  return (what, isLast) => {
    waiting.push(what);
    const pause = last + PAUSE - performance.now();
    if (isLast || pause <= 0) tell();
    else timer ??= setTimeout(tell, pause);
  };
}
