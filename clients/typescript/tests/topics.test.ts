/** Subscriptions: a state is never older, a log loses and repeats nothing, or says so. */
import { expect, test, vi } from "vitest";
import { Lagged, RequestFailed, UnexpectedReply } from "../src/index.js";
import { FakeSocket, opened, pass, settled, withFakeTime } from "./fake.js";

withFakeTime();

async function following(first: Record<string, unknown>, options: Record<string, unknown> = {}) {
  const { api, socket } = await opened(options);
  const seen: unknown[] = [];
  const onchange = (change: any) =>
    seen.push(change.type === "item" ? change.data : change.lost ? { lost: change.data } : { now: change.data });
  const statuses: unknown[] = [];
  const onstatus = (status: string, error?: any) => statuses.push(error ? [status, error.status] : status);
  const subscription = api.subscribe("/x", { onchange, onstatus });
  await settled();
  await socket.replies("SUBSCRIBE", { topic: "/x", ...first });
  return { api, socket, seen, statuses, subscription, push: (version: string, data?: unknown) => push(socket, version, data) };
}

const push = (socket: FakeSocket, version: string, data?: unknown) => socket.says({ event_name: "/x", version, data });
const again = async (socket: FakeSocket) => {
  await socket.closes();
  while (FakeSocket.last === socket) await pass(500);
  await FakeSocket.last.opens();
  return FakeSocket.last;
};
const state = { version: "e.5.d", data: 5 };
const log = { version: "e.5", data: [4, 5] };

test("a state: the value now, then each, and never an older one", async () => {
  const { seen, push, socket } = await following(state);
  await push("e.7.d", 7);
  await push("e.6.d", 6);
  await push("e.8.d"); // It is what it was.
  await push("f.1.d", null);
  await socket.says({ event_name: "/y", version: "e.9.d", data: "of an unknown topic" });
  expect(seen).toEqual([{ now: 5 }, { now: 7 }, { now: null }]);
});

test("a state after a drop: 304 says that it stands, and 200 what it is", async () => {
  const { seen, socket, statuses } = await following(state);
  let next = await again(socket);
  expect(next.sent).toMatchObject([{ method: "SUBSCRIBE", since: "e.5.d" }]);
  await next.replies("SUBSCRIBE", { status: 304, topic: "/x", version: "f.2.d" });
  expect(seen).toEqual([{ now: 5 }]);
  next = await again(next);
  expect(next.sent).toMatchObject([{ since: "f.2.d" }]);
  await next.replies("SUBSCRIBE", { topic: "/x", version: "f.1.d", data: "older" });
  expect(seen).toEqual([{ now: 5 }]);
  next = await again(next);
  await next.replies("SUBSCRIBE", { topic: "/x", version: "g.1.d", data: 8 });
  expect(seen).toEqual([{ now: 5 }, { now: 8 }]);
  expect(statuses).toEqual(["live", "stale", "live", "stale", "live", "stale", "live"]);
});

test("a log: 206 brings what was missed, and nothing twice", async () => {
  const { seen, socket, push: before } = await following(log);
  await before("e.6", 6);
  const next = await again(socket);
  expect(next.sent).toMatchObject([{ since: "e.6" }]);
  await next.replies("SUBSCRIBE", { status: 206, topic: "/x", version: "e.8" });
  for (const n of [6, 7, 8, 8, 9]) await push(next, `e.${n}`, n);
  expect(seen).toEqual([{ now: [4, 5] }, 6, 7, 8, 9]);
});

test("a log: what stands right behind the reply in one read is not lost", async () => {
  const { seen, socket } = await following(log);
  const next = await again(socket);
  const { id } = next.asked("SUBSCRIBE").at(-1)!;
  // Node gives both to their listeners in one turn, in which no promise is kept.
  next.onmessage?.({ data: JSON.stringify({ id, status: 206, topic: "/x", version: "e.6" }) });
  await next.says({ event_name: "/x", version: "e.6", data: 6 });
  expect(seen).toEqual([{ now: [4, 5] }, 6]);
});

test("a log after a 206 that was cut short goes on where its items were", async () => {
  const { socket, seen } = await following(log);
  let next = await again(socket);
  await next.replies("SUBSCRIBE", { status: 206, topic: "/x", version: "e.9" });
  await push(next, "e.6", 6);
  next = await again(next);
  expect(next.sent).toMatchObject([{ since: "e.6" }]);
  await next.replies("SUBSCRIBE", { status: 304, topic: "/x", version: "e.6" });
  await push(next, "e.7", 7);
  expect(seen).toEqual([{ now: [4, 5] }, 6, 7]);
});

test("a log that cannot be resumed says that items may be lost", async () => {
  const { seen, socket } = await following(log);
  const next = await again(socket);
  await next.replies("SUBSCRIBE", { topic: "/x", version: "f.1", data: [1] });
  expect(seen).toEqual([{ now: [4, 5] }, { lost: [1] }]);
});

test("a gap in a log is asked for, once", async () => {
  const { seen, push, socket, statuses } = await following(log);
  for (const n of [8, 9, 10]) await push(`e.${n}`, n);
  await push("f.1", "another epoch");
  expect(statuses).toEqual(["live", "stale"]);
  await pass(500);
  await push("e.11", 11);
  expect(socket.asked("SUBSCRIBE").map(({ since }) => since)).toEqual([undefined, "e.5"]);
  await socket.replies("SUBSCRIBE", { status: 206, topic: "/x", version: "e.11" });
  for (const n of [6, 7, 8]) await push(`e.${n}`, n);
  expect(seen).toEqual([{ now: [4, 5] }, 6, 7, 8]);
});

test("a server whose log has gaps without end is not asked without end", async () => {
  const { push, socket } = await following(log);
  for (let n = 0; n < 500; n++) {
    await push(`e.${100 + n}`, n);
    const { id } = socket.asked("SUBSCRIBE").at(-1);
    await socket.says({ id, status: 206, topic: "/x", version: "e.900" });
    await pass(100);
    await socket.says({ event_name: "alive" });
  }
  expect(socket.asked("SUBSCRIBE").length).toBeLessThan(25);
});

test("items that the first value has already are told by their key", async () => {
  const { seen, push } = await following({ version: "e.5", key: "id", data: [{ id: 1 }, { id: 2 }] });
  await push("e.6", { id: 2 });
  await push("e.7", { id: 3 });
  await push("e.8", { id: 2 }); // Another one that has the same key.
  await push("e.9", null);
  expect(seen).toEqual([{ now: [{ id: 1 }, { id: 2 }] }, { id: 3 }, { id: 2 }, null]);
});

test("who comes later to a state gets the value at once, and to a log asks for it", async () => {
  const { api, socket, seen } = await following(state);
  const late = vi.fn();
  const status = vi.fn();
  api.subscribe("/x", { onchange: late, onstatus: status });
  expect(late).not.toHaveBeenCalled(); // Not before who subscribes has what subscribe() gives.
  await settled();
  expect(late.mock.calls).toEqual([[{ type: "value", data: 5, lost: false }]]);
  expect(status.mock.calls).toEqual([["live", undefined]]);
  expect(socket.asked("SUBSCRIBE")).toHaveLength(1);
  expect(seen).toEqual([{ now: 5 }]);
});

test("who comes later to a log gets all of it, though the connection drops meanwhile", async () => {
  const { api, socket, seen } = await following(log);
  const late: unknown[] = [];
  api.subscribe("/x", { onchange: (change: any) => late.push(change.data) });
  await settled();
  await push(socket, "e.6", 6);
  const next = await again(socket);
  expect(next.sent).toHaveLength(1);
  expect(next.sent[0].since).toBeUndefined();
  await next.replies("SUBSCRIBE", { topic: "/x", version: "e.6", data: [4, 5, 6] });
  await push(next, "e.7", 7);
  expect(late).toEqual([[4, 5, 6], 7]);
  expect(seen).toEqual([{ now: [4, 5] }, 6, { now: [4, 5, 6] }, 7]);
});

test("who comes later to a log has lost nothing, though the others have", async () => {
  const { api, socket, seen } = await following(log);
  const late = vi.fn();
  api.subscribe("/x", { onchange: late });
  await settled();
  await socket.replies("SUBSCRIBE", { topic: "/x", version: "e.9", data: [9] });
  expect(late.mock.calls).toEqual([[{ type: "value", data: [9], lost: false }]]);
  expect(seen).toEqual([{ now: [4, 5] }, { lost: [9] }]);
});

test("who comes later to a state is not told twice of a value that comes meanwhile", async () => {
  const { api, socket } = await following(state);
  const late = vi.fn();
  api.subscribe("/x", { onchange: late });
  socket.onmessage?.({ data: JSON.stringify({ event_name: "/x", version: "e.6.d", data: 6 }) });
  await settled();
  expect(late.mock.calls).toEqual([[{ type: "value", data: 6, lost: false }]]);
});

test("a signal that lives on keeps nothing of a subscription that was ended", async () => {
  const { api, socket } = await opened();
  const { signal } = new AbortController();
  const remove = vi.spyOn(signal, "removeEventListener");
  api.subscribe("/x", { signal, onchange() {} });
  await settled();
  await socket.replies("SUBSCRIBE", { status: 403, detail: "no" });
  expect(remove).toHaveBeenCalledTimes(1);
});

test("one topic for all who follow the same; it ends with the last of them", async () => {
  const { api, socket } = await opened();
  const first = api.subscribe("/x", { args: { a: 1, b: [{ c: 1, d: 2 }] } });
  const second = api.subscribe("/x", { args: { b: [{ d: 2, c: 1 }], a: 1 } });
  await settled();
  expect(socket.asked("SUBSCRIBE")).toHaveLength(1);
  first.close();
  first.close();
  expect(socket.asked("UNSUBSCRIBE")).toHaveLength(0);
  second.close();
  expect(socket.asked("UNSUBSCRIBE")).toMatchObject([{ url: "/x", args: { a: 1, b: [{ c: 1, d: 2 }] } }]);
});

test("UNSUBSCRIBE does not overtake its SUBSCRIBE", async () => {
  const { api, socket } = await opened({ concurrency: 1 });
  void api.get("/slow").catch(() => {});
  const waits = api.subscribe("/x");
  await settled();
  waits.close();
  await socket.replies("GET", { data: null });
  expect(socket.asked("SUBSCRIBE")).toEqual([]); // It was taken back,
  expect(socket.asked("UNSUBSCRIBE")).toEqual([]);
  const sent = api.subscribe("/x");
  await settled();
  sent.close();
  expect(socket.sent.slice(1).map(({ method }) => method)).toEqual(["SUBSCRIBE", "UNSUBSCRIBE"]); // or it was first.
  const { id } = socket.asked("SUBSCRIBE")[0];
  await socket.says({ id, status: 409, detail: "an UNSUBSCRIBE came meanwhile" });
  expect(sent.status).toBe("ended");
});

test("a subscription that is live, and waits to be renewed, is ended on the server, too", async () => {
  const { api, socket, push, subscription } = await following(log, { concurrency: 1 });
  void api.get("/slow").catch(() => {});
  await push("e.9", 9); // A gap.
  await pass(500);
  subscription.close();
  expect(socket.sent.map(({ method }) => method)).toEqual(["SUBSCRIBE", "GET", "UNSUBSCRIBE"]);
});

test("who subscribes and leaves at once sends nothing", async () => {
  const { api, socket } = await opened();
  api.subscribe("/x").close();
  await settled();
  expect(socket.sent).toEqual([]);
});

test("two spellings of a url are one to the server: it goes on while one of them is followed", async () => {
  const { api, socket } = await opened();
  const [one, other] = [api.subscribe("/x"), api.subscribe("/x/")];
  await settled();
  for (const { id } of socket.asked("SUBSCRIBE")) await socket.says({ id, status: 200, topic: "/x", version: "e.1.d", data: 1 });
  one.close();
  expect(socket.asked("UNSUBSCRIBE")).toEqual([]);
  other.close();
  expect(socket.asked("UNSUBSCRIBE")).toHaveLength(1);
});

test.each([true, false])("what was asked for while its url was left is asked for again (its name known: %s)", async (isKnown) => {
  const { api, socket } = await opened();
  const [one, elsewhere] = [api.subscribe("/x"), api.subscribe("/y")];
  await settled();
  const replies = async (place: number, name: string) => {
    await socket.says({ id: socket.asked("SUBSCRIBE")[place].id, status: 200, topic: name, version: "e.1.d", data: 1 });
  };
  if (isKnown) await replies(0, "/x");
  await replies(1, "/y");
  api.subscribe("/x/", { onchange() {} });
  api.subscribe("/z", { onchange() {} });
  await settled();
  for (const each of [one, elsewhere]) each.close();
  expect(socket.asked("UNSUBSCRIBE")).toHaveLength(2);
  await replies(2, "/x"); // Before UNSUBSCRIBE was read.
  await replies(3, "/z");
  expect(socket.sent.slice(6)).toMatchObject([{ url: "/x/", since: "e.1.d" }, ...(isKnown ? [] : [{ url: "/z" }])]);
  await socket.says({ id: socket.sent[6].id, status: 304, topic: "/x", version: "e.1.d" });
  expect(socket.sent).toHaveLength(isKnown ? 7 : 8);
});

test("what a subscription says of itself goes with it, and who says something else has one of their own", async () => {
  const { api, socket } = await opened();
  const quiet = api.subscribe("/x", { onchange() {} });
  api.subscribe("/x", { presence: { typing: true }, onchange() {} });
  await settled();
  expect(socket.sent).toMatchObject([{ url: "/x" }, { url: "/x", presence: { typing: true } }]);
  expect(socket.sent[0]).not.toHaveProperty("presence");
  for (const { id } of socket.asked("SUBSCRIBE")) await socket.says({ id, status: 200, topic: "/x", version: "e.1.d", data: 1 });
  quiet.close();
  expect(socket.asked("UNSUBSCRIBE")).toEqual([]);
  const next = await again(socket);
  expect(next.sent).toMatchObject([{ url: "/x", since: "e.1.d", presence: { typing: true } }]);
});

test("who subscribes anew from within a callback is not told twice of what it was called for", async () => {
  const { api, socket, push } = await following(log);
  const seen: unknown[] = [];
  let subscription = api.subscribe("/x", { onchange });
  function onchange(change: any) {
    seen.push(change.data);
    if (change.type !== "item" || change.data !== 6) return;
    subscription.close();
    subscription = api.subscribe("/x", { onchange });
  }
  await socket.replies("SUBSCRIBE", { topic: "/x", ...log });
  await push("e.6", 6);
  await socket.replies("SUBSCRIBE", { topic: "/x", version: "e.6", data: [4, 5, 6] });
  await push("e.6", 6);
  await push("e.7", 7);
  expect(seen).toEqual([[4, 5], 6, [4, 5, 6], 7]);
});

test.each([400, 401, 403, 404, 405, 422])("%i ends a subscription, with the reason", async (status) => {
  const { api, socket } = await opened();
  const changes = api.subscribe("/x");
  await settled();
  await socket.replies("SUBSCRIBE", { status, detail: "no" });
  await expect(changes[Symbol.asyncIterator]().next()).rejects.toMatchObject({ status, detail: "no" });
  expect((await changes[Symbol.asyncIterator]().next()).done).toBe(true);
  expect(changes.status).toBe("ended");
  await pass(60_000);
  expect(FakeSocket.all.flatMap((each) => each.asked("SUBSCRIBE"))).toHaveLength(1);
  expect(socket.asked("UNSUBSCRIBE")).toEqual([]);
});

test.each([
  ["no topic", { version: "e.1" }],
  ["no version", { topic: "/x" }],
])("a reply that makes no sense ends it: %s", async (_, reply) => {
  const { api, socket } = await opened();
  const changes = api.subscribe("/x")[Symbol.asyncIterator]();
  await settled();
  await socket.replies("SUBSCRIBE", { data: 1, ...reply });
  await expect(changes.next()).rejects.toBeInstanceOf(UnexpectedReply);
});

test.each([
  ["409", 409, undefined, 0],
  ["409, after 1.2 s", 409, 1200, 1200],
  ["429, after 5 s", 429, 5000, 5000],
  ["503, after 10 s", 503, 10_000, 10_000],
  ["403, after 1 s", 403, 1000, 1000],
])("a subscription that the server ends with %s comes back, with `since`", async (_, status, retry, pause) => {
  const { seen, socket, statuses } = await following(log);
  vi.spyOn(Math, "random").mockReturnValue(0.999999);
  await socket.says({ event_name: "/x", status, detail: "later", retry });
  await pass(pause + 480);
  expect(socket.asked("SUBSCRIBE")).toHaveLength(1);
  await pass(30);
  expect(socket.asked("SUBSCRIBE")).toMatchObject([{}, { since: "e.5" }]);
  await socket.replies("SUBSCRIBE", { topic: "/x", version: "e.9", data: [9] });
  expect(statuses).toEqual(["live", "stale", "live"]);
  expect(seen).toEqual([{ now: [4, 5] }, { lost: [9] }]);
});

test("`retry` holds over a new connection", async () => {
  const { socket } = await following(state);
  await socket.says({ event_name: "/x", status: 503, detail: "stopping", retry: 10_000 });
  const next = await again(socket);
  await pass(8000);
  expect(next.sent).toEqual([]);
  await pass(2000);
  expect(next.sent).toHaveLength(1);
});

test("the back-off of a topic grows, and begins anew after 30 s of life", async () => {
  vi.spyOn(Math, "random").mockReturnValue(0.999999);
  const { socket } = await following(state);
  const ends = () => socket.says({ event_name: "/x", status: 500, detail: "no" });
  const waits = async (milliseconds: number) => {
    const { length } = socket.asked("SUBSCRIBE");
    await ends();
    await pass(milliseconds - 10);
    expect(socket.asked("SUBSCRIBE")).toHaveLength(length);
    await pass(20);
    expect(socket.asked("SUBSCRIBE")).toHaveLength(length + 1);
    await socket.replies("SUBSCRIBE", { topic: "/x", ...state });
  };
  for (const pause of [500, 1000, 2000]) await waits(pause);
  await pass(20_000);
  await socket.says({ event_name: "alive" });
  await pass(11_000);
  await waits(500);
});

test("refusals after a long life wait longer and longer", async () => {
  vi.spyOn(Math, "random").mockReturnValue(0.999999);
  await pass(1); // What begins at 0 has not begun.
  const { socket } = await following(state);
  await pass(20_000);
  await socket.says({ event_name: "alive" });
  await pass(11_000);
  await socket.says({ event_name: "/x", status: 500, detail: "no" });
  for (const wait of [500, 1000, 2000, 4000]) {
    const { length } = socket.asked("SUBSCRIBE");
    await pass(wait - 10);
    expect(socket.asked("SUBSCRIBE")).toHaveLength(length);
    await pass(20);
    await socket.replies("SUBSCRIBE", { status: 503, detail: "no" });
  }
});

test("the end after the server's grace is forgiven once: the next token is asked for", async () => {
  let n = 0;
  const token = vi.fn(() => `opaque ${++n}`);
  const { socket, statuses } = await following(state, { token });
  const expire = () => socket.says({ event_name: "/x", status: 401, detail: "expired" });
  await expire();
  await pass(500);
  expect(socket.asked("SUBSCRIBE").map(({ token: sent }) => sent)).toEqual(["opaque 1", "opaque 2"]);
  await socket.replies("SUBSCRIBE", { topic: "/x", ...state });
  await expire();
  expect(statuses).toEqual(["live", "stale", "live", "stale", ["ended", 401]]);
  expect(token).toHaveBeenCalledTimes(2);
});

test("a fixed token that expires ends it", async () => {
  const { socket, statuses } = await following(state, { token: "fixed" });
  await socket.says({ event_name: "/x", status: 401, detail: "expired" });
  expect(statuses).toEqual(["live", "stale", ["ended", 401]]);
});

test("a SUBSCRIBE without a reply is repeated", async () => {
  const { api, socket } = await opened({ timeout: 1000 });
  api.subscribe("/x");
  await settled();
  await pass(1600);
  expect(socket.asked("SUBSCRIBE")).toHaveLength(2);
});

test("a signal ends it quietly", async () => {
  const { api, socket } = await opened();
  const controller = new AbortController();
  const changes = api.subscribe("/x", { signal: controller.signal });
  await settled();
  const next = changes[Symbol.asyncIterator]().next();
  controller.abort();
  expect((await next).done).toBe(true);
  expect(socket.asked("UNSUBSCRIBE")).toHaveLength(1);
  expect(api.subscribe("/x", { signal: AbortSignal.abort() }).status).toBe("ended");
  await settled();
  expect(socket.asked("SUBSCRIBE")).toHaveLength(1);
});

test("leaving the loop ends it", async () => {
  const { api, socket } = await opened();
  const changes = api.subscribe("/x");
  await settled();
  await socket.replies("SUBSCRIBE", { topic: "/x", ...state });
  for await (const change of changes) {
    expect(change.data).toBe(5);
    break;
  }
  expect(socket.asked("UNSUBSCRIBE")).toHaveLength(1);
  expect(() => api.subscribe("/x", { onchange() {} })[Symbol.asyncIterator]()).toThrow(TypeError);
});

test("of a state only the last value waits for its reader, of a log 1,024 items", async () => {
  const { api, socket } = await opened();
  const changes = api.subscribe("/x")[Symbol.asyncIterator]();
  await settled();
  await socket.replies("SUBSCRIBE", { topic: "/x", ...state });
  for (const n of [6, 7]) await push(socket, `e.${n}.d`, n);
  expect((await changes.next()).value).toEqual({ type: "value", data: 7, lost: false });
  const items = api.subscribe("/log")[Symbol.asyncIterator]();
  await settled();
  await socket.replies("SUBSCRIBE", { topic: "/log", version: "e.0", data: [] });
  for (let n = 1; n <= 1030; n++) await socket.says({ event_name: "/log", version: `e.${n}`, data: n });
  await expect(items.next()).rejects.toBeInstanceOf(Lagged);
  expect(socket.asked("UNSUBSCRIBE")).toHaveLength(1);
});

test("a value that takes the place of items nobody has read says so", async () => {
  const { api, socket } = await opened();
  const changes = api.subscribe("/x")[Symbol.asyncIterator]();
  await settled();
  await socket.replies("SUBSCRIBE", { topic: "/x", ...log });
  await push(socket, "e.6", 6);
  const other = vi.fn();
  api.subscribe("/x", { onchange: other });
  await socket.replies("SUBSCRIBE", { topic: "/x", version: "e.6", data: [4, 5, 6] });
  expect((await changes.next()).value).toEqual({ type: "value", data: [4, 5, 6], lost: true });
});

test("what was lost before a value that nobody has read is said of the next", async () => {
  const { api, socket } = await opened();
  const changes = api.subscribe("/x")[Symbol.asyncIterator]();
  await settled();
  await socket.replies("SUBSCRIBE", { topic: "/x", ...log });
  const next = await again(socket);
  await next.replies("SUBSCRIBE", { topic: "/x", version: "f.1", data: [1] });
  api.subscribe("/x", { onchange() {} });
  await next.replies("SUBSCRIBE", { topic: "/x", version: "f.1", data: [1] });
  expect((await changes.next()).value).toEqual({ type: "value", data: [1], lost: true });
});

test("who is taken away by another's callback hears no more", async () => {
  const { api, socket } = await opened();
  const late = vi.fn();
  const status = vi.fn();
  api.subscribe("/x", { onchange: () => other.close() });
  const other = api.subscribe("/x", { onchange: late, onstatus: status });
  await settled();
  await socket.replies("SUBSCRIBE", { topic: "/x", ...state });
  expect(late).not.toHaveBeenCalled();
  expect(status).not.toHaveBeenCalled();
});

test("close() from within a callback is the end", async () => {
  const { api, socket } = await opened();
  const statuses: string[] = [];
  const subscription = api.subscribe("/x", { onchange: () => subscription.close(), onstatus: (status: string) => statuses.push(status) });
  await settled();
  await socket.replies("SUBSCRIBE", { topic: "/x", ...state });
  expect([subscription.status, statuses]).toEqual(["ended", []]);
  expect(socket.asked("UNSUBSCRIBE")).toHaveLength(1);
});

test("what is too large to be followed is refused here", async () => {
  const { api, socket } = await opened();
  expect(() => api.subscribe("/x", { args: { text: "x".repeat(20_000) } })).toThrow(/at most 16384/);
  expect(() => api.subscribe("/x", { args: { n: 1n } })).toThrow(TypeError);
  await settled();
  expect(socket.sent).toEqual([]);
});

test("a refusal is an error with a status, a detail and a time to come back", async () => {
  const { api, socket } = await opened();
  const call = api.get("/x");
  await socket.replies("GET", { status: 429, detail: { reason: "busy" }, retry: 100 });
  const error = await call.catch((error: unknown) => error);
  expect(error).toBeInstanceOf(RequestFailed);
  expect(error).toMatchObject({ status: 429, detail: { reason: "busy" }, retry: 100, message: '429: {"reason":"busy"}' });
});
