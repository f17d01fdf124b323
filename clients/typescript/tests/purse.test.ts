/** Tokens, and who is signed in. */
import { expect, test, vi } from "vitest";
import { client, FakeSocket, jwt, opened, outcome, pass, settled, withFakeTime } from "./fake.js";

withFakeTime();

const state = { topic: "/value", version: "e.1.d", data: "of Ada" };
const of = (sub: string, seconds?: number, n = 0) => jwt({ sub, n, ...(seconds && { exp: Date.now() / 1000 + seconds }) });

test("a token goes with each request", async () => {
  const { api, socket } = await opened({ token: "fixed" });
  outcome(api.get("/a"));
  api.subscribe("/value");
  await settled();
  expect(socket.sent.map(({ token }) => token)).toEqual(["fixed", "fixed"]);
});

test("a callback is asked once for all who wait, and not again while its token lives", async () => {
  const token = vi.fn(async () => of("ada", 3600));
  const { api, socket } = await opened({ token });
  for (let n = 0; n < 5; n++) outcome(api.get("/a"));
  await settled();
  expect(socket.sent).toHaveLength(5);
  await pass(20_000);
  outcome(api.get("/a"));
  await settled();
  expect(token).toHaveBeenCalledTimes(1);
});

test("it is asked only when there is somebody to send the token to", async () => {
  const token = vi.fn(() => "opaque");
  const api = client({ token });
  outcome(api.get("/a"));
  await settled();
  expect(token).not.toHaveBeenCalled();
  await FakeSocket.last.opens();
  expect(token).toHaveBeenCalledTimes(1);
});

test("a fresh token is asked for 30 s before the old one expires, and subscriptions get it", async () => {
  let n = 0;
  const token = vi.fn(() => of("ada", 120, ++n));
  const { api, socket } = await opened({ token });
  api.subscribe("/value", { onchange() {} });
  await settled();
  await socket.replies("SUBSCRIBE", state);
  for (let second = 0; second < 88; second++) {
    await pass(1000);
    await socket.says({ event_name: "alive" });
  }
  expect(token).toHaveBeenCalledTimes(1);
  await pass(4000);
  expect(token).toHaveBeenCalledTimes(2);
  expect(socket.asked("SUBSCRIBE").map(({ token: sent, since }) => [JSON.parse(atob(sent.split(".")[1])).n, since])).toEqual([
    [1, undefined],
    [2, "e.1.d"],
  ]);
});

test("a token that lives for years, and one that has expired by our clock, are no reason to ask without end", async () => {
  const timers = vi.spyOn(globalThis, "setTimeout");
  for (const seconds of [3e9, -3600, 1]) {
    const token = vi.fn(() => of("ada", seconds));
    const { api, socket } = await opened({ token });
    api.subscribe("/value", { onchange() {} });
    await settled();
    await socket.replies("SUBSCRIBE", state);
    await pass(20_000);
    expect(token.mock.calls.length).toBeLessThanOrEqual(21);
    api.close();
  }
  expect(Math.max(...timers.mock.calls.map(([, wait = 0]) => wait))).toBeLessThan(2 ** 31); // Else a timer does not wait at all.
});

test("at 401 a call is asked once more, with a fresh token, under the same timeout", async () => {
  let n = 0;
  const token = vi.fn(() => `opaque ${++n}`);
  const { api, socket } = await opened({ token });
  const [first, second] = [outcome(api.post("/a", { timeout: 1000 })), outcome(api.post("/b"))];
  await settled();
  for (const id of [1, 2]) await socket.says({ id, status: 401, detail: "expired" });
  expect(token).toHaveBeenCalledTimes(2);
  expect(socket.sent.slice(2).map(({ url, token: sent }) => [url, sent])).toEqual([
    ["/a", "opaque 2"],
    ["/b", "opaque 2"],
  ]);
  await socket.replies("POST", { data: "in" });
  expect(second.value).toBe("in");
  await pass(1000);
  expect(first.error).toMatchObject({ name: "TimedOut", mayHaveRun: true });
});

test("a second 401 is the outcome, and so is the first where there is no other token", async () => {
  for (const [token, sent] of [
    [vi.fn(() => `${Math.random()}`), 2],
    [vi.fn(() => "same"), 1],
    ["fixed", 1],
    [undefined, 1],
  ] as const) {
    const { api, socket } = await opened({ token });
    const call = outcome(api.get("/a"));
    await settled();
    for (let n = 0; n < 3; n++) await socket.says({ id: n + 1, status: 401, detail: "no" });
    expect(call.error).toMatchObject({ name: "RequestFailed", status: 401, detail: "no" });
    expect(socket.sent).toHaveLength(sent);
    if (typeof token === "function") expect(token).toHaveBeenCalledTimes(2);
  }
});

test("who was refused waits for the next connection as others do", async () => {
  let n = 0;
  const { api, socket } = await opened({ token: () => (n++ ? new Promise(() => {}) : "old") });
  const [read, write] = [outcome(api.get("/a")), outcome(api.post("/a"))];
  await settled();
  for (const id of [1, 2]) await socket.says({ id, status: 401, detail: "expired" });
  await socket.closes();
  expect([read.isOver, write.error?.mayHaveRun]).toEqual([false, false]);
});

test("what the callback raises is the outcome of the calls that needed it, and not of later ones", async () => {
  const token = vi.fn<() => string>(() => {
    throw new Error("no network");
  });
  const { api, socket } = await opened({ token });
  const call = outcome(api.get("/a"));
  await settled();
  expect(call.error.message).toBe("no network");
  token.mockReturnValue("here");
  outcome(api.get("/b"));
  await settled();
  expect(socket.sent).toMatchObject([{ url: "/b", token: "here" }]);
});

test("a subscription is asked for again when the token callback works again", async () => {
  let fails = true;
  const token = () => (fails ? Promise.reject(new Error("no network")) : "here");
  const { api, socket } = await opened({ token });
  api.subscribe("/value", { onchange() {} });
  await settled();
  fails = false;
  await pass(21_000);
  expect(socket.asked("SUBSCRIBE")).toMatchObject([{ token: "here" }]);
});

test("after 4401 it comes back once with a fresh token", async () => {
  let n = 0;
  const token = vi.fn(() => `opaque ${++n}`);
  const { api, socket } = await opened({ token });
  outcome(api.get("/a"));
  await settled();
  await socket.closes(4401);
  await pass(500);
  expect(token).toHaveBeenCalledTimes(2);
  expect(FakeSocket.all).toHaveLength(2);
  await FakeSocket.last.opens();
  await FakeSocket.last.says({ event_name: "a reply changes nothing" });
  await FakeSocket.last.closes(4401);
  expect(api.status).toBe("closed");
});

/** A function that gives nothing the first `times` times. */
const hanging = (times: number) => {
  let n = 0;
  return vi.fn(() => (++n > times ? `opaque ${n}` : new Promise<string>(() => {})));
};

test("a token that does not come is asked for again after 10 s", async () => {
  const token = hanging(1);
  const { api, socket } = await opened({ token });
  const [early, late] = [outcome(api.get("/a")), outcome(api.get("/b", { timeout: 5000 }))];
  await pass(9500);
  expect([token.mock.calls.length, socket.sent, late.error?.mayHaveRun]).toEqual([1, [], false]);
  await pass(1500);
  expect(socket.sent).toMatchObject([{ url: "/a", token: "opaque 2" }]);
  await socket.replies("GET", { data: 1 });
  expect(early.value).toBe(1);
});

test("a token that comes behind a newer one is not used", async () => {
  const resolves: ((token: string) => void)[] = [];
  const { api, socket } = await opened({ token: () => new Promise<string>((resolve) => resolves.push(resolve)) });
  outcome(api.get("/a"));
  await pass(11_000);
  resolves[1]!(of("ada"));
  resolves[0]!(of("bob"));
  await settled();
  outcome(api.get("/b"));
  await settled();
  expect(socket.sent.map(({ token }) => token)).toEqual([of("ada"), of("ada")]);
});

test("a token that does not come after 4401 does not hold the connection up for good", async () => {
  const { api, socket } = await opened({ token: hanging(2) });
  outcome(api.get("/a"));
  await pass(11_000);
  await socket.closes(4401);
  await pass(10_000);
  expect(FakeSocket.all).toHaveLength(1);
  await pass(1000);
  await FakeSocket.last.opens();
  const call = outcome(api.get("/b"));
  await pass(11_000);
  expect(FakeSocket.last.sent.at(-1)).toMatchObject({ url: "/b", token: "opaque 3" });
  expect(call.isOver).toBe(false);
});

test("4401 after a life of 30 s is another one", async () => {
  let n = 0;
  const { api, socket } = await opened({ token: () => `opaque ${++n}` });
  await socket.closes(4401);
  for (let round = 0; round < 3; round++) {
    await pass(500);
    await FakeSocket.last.opens();
    await pass(20_000);
    await FakeSocket.last.says({ event_name: "alive" });
    await pass(11_000);
    await FakeSocket.last.closes(4401);
    expect(api.status).toBe("offline");
  }
});

test("signIn: what waits was asked by another, and what was known is forgotten", async () => {
  const { api, socket } = await opened({ token: of("ada"), concurrency: 2 });
  const [changes, forgotten] = [vi.fn(), vi.fn()];
  api.onuser(forgotten);
  api.subscribe("/value", { onchange: changes });
  await settled();
  await socket.replies("SUBSCRIBE", state);
  const calls = [api.get("/1"), api.get("/2"), api.get("/3"), api.post("/4", { idempotencyKey: "0123456789abcdef" })].map(outcome);
  await settled();
  api.signIn(of("bob"));
  await settled();
  expect(calls.map(({ error }) => [error?.message, error?.mayHaveRun])).toEqual([
    ["the user changed", true],
    ["the user changed", true],
    ["the user changed", false],
    ["the user changed", false],
  ]);
  expect(forgotten).toHaveBeenCalledTimes(1);
  expect(socket.readyState).toBe(3);
  await FakeSocket.last.opens();
  expect(FakeSocket.last.sent).toEqual([{ method: "SUBSCRIBE", url: "/value", token: of("bob"), id: expect.any(Number) }]);
  await socket.says({ event_name: "/value", version: "e.9.d", data: "of Ada" }); // The old connection's last.
  await FakeSocket.last.replies("SUBSCRIBE", { ...state, version: "f.1.d", data: "of Bob" });
  expect(changes.mock.calls.map(([change]) => change.data)).toEqual(["of Ada", "of Bob"]);
});

test("signIn: a GET that waits for a connection does not become another user's", async () => {
  const { api, socket } = await opened({ token: "Ada's" });
  await socket.closes();
  const call = outcome(api.get("/mine"));
  api.signIn("Bob's");
  await FakeSocket.last.opens();
  expect(call.error).toMatchObject({ message: "the user changed", mayHaveRun: false });
  expect(FakeSocket.last.sent).toEqual([]);
});

test("signIn: a token that was still being asked for is the old user's", async () => {
  let give = (_: string) => {};
  const { api } = await opened({ token: () => new Promise<string>((resolve) => (give = resolve)) });
  outcome(api.get("/mine"));
  await settled();
  api.signIn("Bob's");
  await FakeSocket.last.opens();
  give("Ada's");
  outcome(api.get("/a"));
  await settled();
  expect(FakeSocket.last.sent.map(({ token }) => token)).toEqual(["Bob's"]);
  api.signIn();
  await FakeSocket.last.opens();
  outcome(api.get("/a"));
  expect(FakeSocket.last.sent).toEqual([{ method: "GET", url: "/a", id: expect.any(Number) }]);
});

test("signIn: what the old user's callback raises later is not the new user's", async () => {
  let fail = (_: Error) => {};
  const { api } = await opened({ token: () => new Promise<string>((_, reject) => (fail = reject)) });
  outcome(api.get("/mine"));
  await settled();
  api.signIn(() => new Promise(() => {}));
  await FakeSocket.last.opens();
  const call = outcome(api.get("/a"));
  await settled();
  fail(new Error("Ada's"));
  await settled();
  expect(call.isOver).toBe(false);
});

test("changes that nobody has read yet are forgotten with their user", async () => {
  const { api, socket } = await opened({ token: of("ada") });
  const changes = api.subscribe("/value")[Symbol.asyncIterator]();
  await settled();
  await socket.replies("SUBSCRIBE", state);
  api.signIn(of("bob"));
  await FakeSocket.last.opens();
  await FakeSocket.last.replies("SUBSCRIBE", { ...state, version: "f.1.d", data: "of Bob" });
  expect((await changes.next()).value.data).toBe("of Bob");
});

test.each([
  ["another subject", of("ada"), of("bob"), true],
  ["the subject of another issuer", jwt({ iss: "a", sub: "ada" }), jwt({ iss: "b", sub: "ada" }), true],
  ["nobody", of("ada"), null, true],
  ["nobody, after a token that says nothing", "opaque", null, true],
  ["a token that says nothing, after one that did", of("ada"), "opaque", true],
  ["the same subject", of("ada"), of("ada", 7200), false],
  ["another token that says nothing", "opaque", "other", false],
  ["somebody, after nobody", null, of("ada"), false],
])("the callback gives %s", async (_, first, second, isAnother) => {
  const tokens = [first, second];
  const { api, socket } = await opened({ token: () => (tokens.length > 1 ? tokens.shift()! : tokens[0]!) });
  const forgotten = vi.fn();
  api.onuser(forgotten);
  api.subscribe("/value", { onchange() {} });
  await settled();
  await socket.replies("SUBSCRIBE", state);
  const call = outcome(api.get("/a"));
  await settled();
  await socket.replies("GET", { status: 401, detail: "expired" });
  expect(forgotten).toHaveBeenCalledTimes(isAnother ? 1 : 0);
  if (isAnother) {
    expect(call.error).toMatchObject({ message: "the user changed", mayHaveRun: false });
    expect(FakeSocket.all).toHaveLength(2);
    await FakeSocket.last.opens();
    expect(FakeSocket.last.asked("SUBSCRIBE")[0].since).toBeUndefined();
  } else {
    expect(call.isOver).toBe(false);
    expect(socket.asked("SUBSCRIBE").at(-1)).toMatchObject({ since: "e.1.d", ...(second && { token: second }) });
  }
});
