/** With the WebSocket of whatever runs this: a call, a refusal, a subscription over a drop, and the end. Prints "told". */
import { createClient, RequestFailed } from "../dist/index.js";

const api = createClient({ url: globalThis.process.argv[2], backoff: [1, 20] });
const equal = (given, wanted) => {
  if (JSON.stringify(given) !== JSON.stringify(wanted)) throw new Error(`${JSON.stringify(given)} is not ${JSON.stringify(wanted)}`);
};

equal((await api.get("/orders/{id}", { path: { id: 7 } })).id, 7);
equal((await api.get("/orders/404").catch((error) => error)) instanceof RequestFailed, true);

await api.post("/log");
const changes = api.subscribe("/log")[Symbol.asyncIterator]();
const first = (await changes.next()).value.data;
const isOffline = new Promise((resolve) => api.onstatus((status) => status === "offline" && resolve()));
api.post("/drop").catch(() => {});
await isOffline;
await api.get("/orders"); // A GET waits for the next connection.
await api.post("/log");
equal((await changes.next()).value, { type: "item", data: { n: first.at(-1).n + 1 } });

const isClosed = changes.next();
api.close();
equal(await isClosed, { done: true });
console.log("told");
