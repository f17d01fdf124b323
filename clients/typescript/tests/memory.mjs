/** What is kept of 100,000 subscriptions that are over, and of as many calls: prints the growth in bytes. */
import { createClient } from "../dist/index.js";

/** A server within: it answers at once, and forgets. */
class Answering {
  readyState = 0;
  constructor() {
    queueMicrotask(() => {
      this.readyState = 1;
      this.onopen();
    });
  }
  send(text) {
    const { id, method, url } = JSON.parse(text);
    const reply = method === "SUBSCRIBE" ? { topic: url, version: "e.1.d", data: [] } : { data: null };
    queueMicrotask(() => this.onmessage({ data: JSON.stringify({ id, status: 200, ...reply }) }));
  }
  close() {}
}

const api = createClient({ url: "ws://test", WebSocket: Answering });
const signal = new AbortController().signal;
const turn = () => new Promise((resolve) => setImmediate(resolve));

async function rounds(count) {
  for (let n = 0; n < count; n++) {
    api.subscribe(`/x/${n}`, { onchange() {}, signal }).close(); // At once,
    const later = api.subscribe(`/y/${n}`, { signal });
    await api.get(`/z/${n}`, { signal });
    later.close(); // and when it is live.
    if (n % 1000 === 0) await turn();
  }
  await turn();
  globalThis.gc();
  return process.memoryUsage().heapUsed;
}

const before = await rounds(5000);
const after = await rounds(50_000);
console.log(JSON.stringify({ growth: after - before }));
api.close();
