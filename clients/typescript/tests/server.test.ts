import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import WebSocket from "ws";
import { type Client, type ClientOptions, ConnectionLost, createClient, RequestFailed, TimedOut } from "../src/index.js";
import { served } from "./serving.js";

let server: Awaited<ReturnType<typeof served>>;
let url: string;
const clients: Client[] = [];

beforeAll(async () => {
  server = await served();
  ({ url } = server);
});
afterAll(() => server.end());
afterEach(() => clients.splice(0).forEach((client) => client.close()));

function client(options: Partial<ClientOptions> = {}): Client {
  const made = createClient({ url, WebSocket, backoff: [1, 20], ...options });
  clients.push(made);
  return made;
}

const reaches = (api: Client, status: string) =>
  new Promise<void>((resolve) => {
    const end = api.onstatus((now) => {
      if (now !== status) return;
      end();
      resolve();
    });
  });

test("calls give what the server replies", async () => {
  const api = client();
  expect(await api.get("/orders/{id}", { path: { id: 7 } })).toMatchObject({ id: 7 });
  const many = await Promise.all(Array.from({ length: 100 }, (_, id) => api.get(`/orders/${id}`)));
  expect(many.map((order) => order.id)).toEqual([...Array(100).keys()]);
});

test("errors have a status and a detail", async () => {
  const error = await client()
    .get("/orders/404")
    .catch((error: unknown) => error);
  expect(error).toBeInstanceOf(RequestFailed);
  expect(error).toMatchObject({ status: 404, detail: "no such order" });
});

test("a call ends by its timeout and by its signal", async () => {
  const api = client();
  await expect(api.get("/never", { timeout: 20 })).rejects.toBeInstanceOf(TimedOut);
  const controller = new AbortController();
  const call = api.get("/never", { signal: controller.signal });
  controller.abort(new Error("enough"));
  await expect(call).rejects.toThrow("enough");
});

test("what was sent before a drop may have run, what is asked after close has not", async () => {
  const api = client();
  const hangs = api.get("/never").catch((error: unknown) => error);
  await api.get("/orders/1");
  void api.post("/drop").catch(() => {});
  expect(await hangs).toMatchObject({ name: "ConnectionLost", mayHaveRun: true });
  api.close();
  const refused = await api.get("/orders/1").catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(ConnectionLost);
  expect(refused).toMatchObject({ mayHaveRun: false });
});

test("while offline a GET waits and a write fails", async () => {
  const api = client();
  await api.get("/orders/1");
  const offline = reaches(api, "offline");
  void api.post("/drop").catch(() => {});
  await offline;
  const write = api.put("/value", { data: { n: 1 } }).catch((error: unknown) => error);
  expect(await api.get("/orders/2")).toMatchObject({ id: 2 });
  expect(await write).toMatchObject({ name: "ConnectionLost", mayHaveRun: false });
});

test("an event reaches who hears", async () => {
  const api = client();
  const heard = new Promise((resolve) => api.events(resolve));
  await api.post("/event");
  expect(await heard).toEqual({ name: "hello", data: { who: "you" } });
});

test("a state is followed, and followed on after a drop", async () => {
  const [api, other] = [client(), client()];
  await other.put("/value", { data: { n: 10 } });
  const changes = api.subscribe("/value")[Symbol.asyncIterator]();
  expect((await changes.next()).value).toEqual({ type: "value", data: { n: 10 }, lost: false });
  await other.put("/value", { data: { n: 11 } });
  expect((await changes.next()).value.data).toEqual({ n: 11 });
  const offline = reaches(api, "offline");
  void api.post("/drop").catch(() => {});
  await offline;
  await other.put("/value", { data: { n: 12 } });
  expect((await changes.next()).value.data).toEqual({ n: 12 });
  await changes.return!();
  expect((await changes.next()).done).toBe(true);
});

test("a log loses and repeats nothing over drops", async () => {
  const [api, other] = [client(), client()];
  await other.post("/log"); // An empty log that nobody follows is forgotten, its epoch with it.
  const changes = api.subscribe("/log")[Symbol.asyncIterator]();
  const first = (await changes.next()).value;
  const seen: number[] = first.data.map((item: { n: number }) => item.n);
  for (let round = 0; round < 5; round++) {
    const offline = reaches(api, "offline");
    void api.post("/drop").catch(() => {});
    await offline;
    for (let item = 0; item < 3; item++) await other.post("/log");
    for (let item = 0; item < 3; item++) {
      const { value } = await changes.next();
      expect(value.type).toBe("item");
      seen.push(value.data.n);
    }
  }
  expect(seen).toEqual([...seen.keys()]);
});

test("a subscription that is refused ends with the reason", async () => {
  const changes = client().subscribe("/orders/1")[Symbol.asyncIterator]();
  await expect(changes.next()).rejects.toMatchObject({ status: 405 });
});
