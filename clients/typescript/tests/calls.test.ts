/** Calls: what is sent when, and what becomes of each. */
import { expect, test, vi } from "vitest";
import { ConnectionLost, TimedOut, UnexpectedReply } from "../src/index.js";
import { client, FakeSocket, opened, outcome, pass, settled, withFakeTime } from "./fake.js";

withFakeTime();

test("a call says no more than it was given", async () => {
  const { api, socket } = await opened();
  outcome(api.get("/orders/{id}", { path: { id: 7 } }));
  outcome(api.post("/orders", { args: { a: 1 }, data: { title: "x" }, idempotencyKey: "0123456789abcdef" }));
  expect(socket.sent).toEqual([
    { method: "GET", url: "/orders/7", id: 1 },
    { method: "POST", url: "/orders", args: { a: 1 }, data: { title: "x" }, idempotency_key: "0123456789abcdef", id: 2 },
  ]);
});

test("what would lead elsewhere is not sent", async () => {
  const { api, socket } = await opened();
  for (const id of ["", "7/secret", undefined]) {
    await expect(api.get("/orders/{id}", { path: { id: id as string } })).rejects.toThrow(/\/orders\/\{id\} needs path/);
  }
  outcome(api.get("/files/{name:path}", { path: { name: "a/b" } }));
  expect(socket.sent.map(({ url }) => url)).toEqual(["/files/a/b"]);
});

test("what JSON cannot say fails alone", async () => {
  const { api, socket } = await opened();
  await expect(api.post("/orders", { data: 1n })).rejects.toBeInstanceOf(TypeError);
  const next = api.get("/orders");
  await socket.replies("GET", { data: [] });
  expect(await next).toEqual([]);
});

test("data is sent as it was when the call was made", async () => {
  const api = client();
  const data = { title: "then" };
  void api.post("/orders", { data }).catch(() => {});
  data.title = "now";
  await FakeSocket.last.opens();
  expect(FakeSocket.last.sent[0].data).toEqual({ title: "then" });
});

test("at most 48 calls are in flight, and PING and UNSUBSCRIBE go beside them", async () => {
  const { api, socket } = await opened();
  const following = api.subscribe("/value", { onchange() {} });
  await settled();
  await socket.replies("SUBSCRIBE", { topic: "/value", version: "e.1.d", data: 1 });
  for (let n = 0; n < 60; n++) void api.get(`/${n}`).catch(() => {});
  expect(socket.asked("GET")).toHaveLength(48);
  following.close();
  expect(socket.asked("UNSUBSCRIBE")).toHaveLength(1);
  await pass(26_000);
  expect(socket.asked("PING")).toHaveLength(1);
  await socket.says({ id: socket.asked("GET")[0].id, status: 200, data: null });
  expect(socket.asked("GET")).toHaveLength(49);
});

test("a call that nobody waits for keeps its place until its reply comes", async () => {
  const { api, socket } = await opened({ concurrency: 2 });
  const controller = new AbortController();
  const calls = [1, 2, 3].map((n) => outcome(api.get(`/${n}`, { signal: controller.signal })));
  controller.abort(new Error("enough"));
  await settled();
  expect(calls.map(({ error }) => error.message)).toEqual(["enough", "enough", "enough"]);
  const next = outcome(api.get("/4"));
  expect(socket.asked("GET").map(({ url }) => url)).toEqual(["/1", "/2"]);
  await socket.says({ id: 1, status: 200, data: "late" });
  expect(socket.asked("GET").map(({ url }) => url)).toEqual(["/1", "/2", "/4"]);
  await socket.replies("GET", { data: 4 });
  expect(next.value).toBe(4);
});

test("a connection all of whose places are taken by calls that nobody waits for is left", async () => {
  const { api, socket } = await opened({ concurrency: 2, silence: 3000 });
  for (const url of ["/1", "/2"]) void api.get(url, { timeout: 10 }).catch(() => {});
  for (let second = 0; second < 6; second++) {
    await pass(1000);
    await socket.says({ event_name: "alive" });
  }
  expect(api.status).not.toBe("open");
});

test("calls that nobody waited for, and that were answered late, are no reason to leave", async () => {
  const { api, socket } = await opened({ concurrency: 2, silence: 3000 });
  for (const url of ["/1", "/2"]) outcome(api.get(url, { timeout: 10 }));
  await pass(20);
  for (const id of [1, 2]) await socket.says({ id, status: 200, data: "late" });
  for (let second = 0; second < 6; second++) {
    await pass(1000);
    await socket.says({ event_name: "alive" });
  }
  expect(api.status).toBe("open");
});

test("a timeout tells whether the call may have run, and late replies change nothing", async () => {
  const { api, socket } = await opened({ concurrency: 1 });
  const sent = outcome(api.post("/a", { timeout: 20 }));
  const waiting = outcome(api.post("/b", { timeout: 20 }));
  await pass(21);
  expect(sent.error).toBeInstanceOf(TimedOut);
  expect([sent.error.mayHaveRun, waiting.error.mayHaveRun]).toEqual([true, false]);
  await socket.says({ id: 1, status: 200, data: "late" });
  await socket.says({ id: 1, status: 200, data: "twice" });
  expect(socket.asked("POST")).toHaveLength(1);
});

test("calls have 30 s, or what the client says; with 0 they wait for ever", async () => {
  const { api, socket } = await opened();
  const [usual, never] = [outcome(api.get("/a")), outcome(api.get("/b", { timeout: 0 }))];
  await pass(29_000);
  await socket.says({ event_name: "alive" });
  expect(usual.isOver).toBe(false);
  await pass(1001);
  expect(usual.error).toBeInstanceOf(TimedOut);
  for (let minute = 0; minute < 10; minute++) {
    await pass(20_000);
    await socket.says({ event_name: "alive" });
  }
  expect(never.isOver).toBe(false);
});

test("an aborted signal sends nothing", async () => {
  const { api, socket } = await opened();
  await expect(api.get("/a", { signal: AbortSignal.abort(new Error("before")) })).rejects.toThrow("before");
  expect(socket.sent).toEqual([]);
});

test("at a drop calls in flight fail, and say that they may have run; GETs that wait are sent later", async () => {
  const { api, socket } = await opened({ concurrency: 2 });
  const calls = [api.get("/in"), api.put("/in"), api.get("/waits"), api.put("/waits")].map(outcome);
  await socket.closes();
  expect(calls.map(({ error }) => error?.mayHaveRun)).toEqual([true, true, undefined, false]);
  for (const { error } of calls) expect(error === undefined || error instanceof ConnectionLost).toBe(true);
  await pass(500);
  await FakeSocket.last.opens();
  await FakeSocket.last.replies("GET", { data: "here" });
  expect(calls[2]!.value).toBe("here");
});

test("a call with an idempotency key is kept, and sent again", async () => {
  const { api, socket } = await opened();
  const [idempotencyKey, other] = ["0123456789abcdef", "another-of-sixteen"];
  const sent = outcome(api.post("/a", { idempotencyKey }));
  await socket.closes();
  const waits = outcome(api.post("/b", { idempotencyKey: other }));
  await pass(500);
  await FakeSocket.last.opens();
  expect(FakeSocket.last.sent.map((message) => message.idempotency_key)).toEqual([idempotencyKey, other]);
  for (const { id } of FakeSocket.last.sent) await FakeSocket.last.says({ id, status: 201, data: id });
  expect([sent.isOver, waits.isOver, sent.error, waits.error]).toEqual([true, true, undefined, undefined]);
});

test("a message that was too big is not sent again", async () => {
  const { api, socket } = await opened();
  const call = outcome(api.post("/a", { idempotencyKey: "0123456789abcdef" }));
  await socket.closes(1009);
  expect(call.error).toMatchObject({ name: "ConnectionLost", mayHaveRun: true });
});

test("while there is no connection 256 GETs wait, and no write", async () => {
  const { api, socket } = await opened();
  await socket.closes();
  expect(api.status).toBe("offline");
  const writes = [api.post("/a"), api.delete("/a")].map(outcome);
  const reads = Array.from({ length: 257 }, () => outcome(api.get("/a")));
  await settled();
  for (const { error } of writes) expect(error.message).toMatch(/was not sent: there is no connection/);
  expect(reads.filter(({ isOver }) => isOver)).toEqual([reads[256]]);
  expect(reads[256]!.error).toMatchObject({ name: "ConnectionLost", mayHaveRun: false });
});

test("where nothing may wait, a call says that there is no connection, and not that the client is closed", async () => {
  const { api, socket } = await opened({ queue: 0 });
  await socket.closes();
  await expect(api.get("/a")).rejects.toThrow(/there is no connection/);
  api.close();
  await expect(api.get("/a")).rejects.toThrow(/the client is closed/);
});

test("of the calls that wait at a drop no more are kept than may wait", async () => {
  const { api, socket } = await opened({ concurrency: 1, queue: 3 });
  const reads = Array.from({ length: 10 }, () => outcome(api.get("/a")));
  await socket.closes();
  expect(reads.filter(({ isOver }) => !isOver)).toHaveLength(3);
});

test("a server that is another one is told from ours", async () => {
  const error = vi.spyOn(console, "error");
  const { api, socket } = await opened();
  const echo = '{"id":1,"method":"GET","url":"/a"}';
  const [quiet, known] = [outcome(api.get("/a")), outcome(api.get("/b", { timeout: 50 }))];
  await socket.says({ event_name: { any: "JSON" } });
  for (const text of [...odd, echo, '{"id":99,"status":200}', '{"id":{},"status":200}']) await socket.says(text);
  socket.onmessage?.({ data: new ArrayBuffer(3) });
  expect(quiet.error).toBeInstanceOf(UnexpectedReply); // It alone: ours has said something else before.
  expect(known.isOver).toBe(false);
  await pass(51);
  expect(known.error).toBeInstanceOf(TimedOut);
  expect(error).not.toHaveBeenCalled();
});

const odd = ["<html>", "null", "[]", "7", '""', '{"a":1}', '{"data":"Hello","event_name":null}'];

test.each([...odd, '{"id":1}'])("a server that answers %s is none of ours, and is named at once", async (text) => {
  const { api, socket } = await opened();
  const calls = [outcome(api.get("/a")), outcome(api.post("/b"))];
  const changes = api.subscribe("/x");
  await settled();
  await socket.says(text);
  for (const { error } of calls) expect(error).toBeInstanceOf(UnexpectedReply);
  await expect(changes[Symbol.asyncIterator]().next()).rejects.toBeInstanceOf(UnexpectedReply);
  const next = outcome(api.get("/a"));
  await socket.replies("GET", { data: "well" });
  expect(next.value).toBe("well");
});

test("replies to nobody, and replies that come twice, are passed over", async () => {
  const { api, socket } = await opened();
  for (const id of [99, "x", [1], null]) await socket.says({ id, status: 200, data: "nobody's" });
  for (const data of [1, 2]) {
    const call = outcome(api.get("/a"));
    await socket.replies("GET", { data });
    await socket.replies("GET", { status: 500, detail: "twice" });
    expect(call.value).toBe(data);
  }
});

test("nothing is kept of calls that are over", async () => {
  const { api, socket } = await opened();
  const controller = new AbortController();
  const remove = vi.spyOn(controller.signal, "removeEventListener");
  for (let n = 0; n < 100; n++) {
    const call = api.get("/a", { signal: controller.signal });
    await socket.replies("GET", { data: n });
    expect(await call).toBe(n);
  }
  expect(remove).toHaveBeenCalledTimes(100);
  expect(vi.getTimerCount()).toBe(1); // The pulse.
});
