/** The connection: how it comes back, when it counts as dead, and who is let in no more. */
import { expect, test, vi } from "vitest";
import { ConnectionLost } from "../src/index.js";
import { client, FakeSocket, opened, outcome, pass, settled, withFakeTime } from "./fake.js";

withFakeTime();

const bound = (share: number) => vi.spyOn(Math, "random").mockReturnValue(share);

test("a url has the scheme of a WebSocket, and a WebSocket has to be there", () => {
  for (const url of ["http://x", "x", "", "//x"]) expect(() => client({ url })).toThrow(/begins with ws:\/\/ or wss:\/\//);
  vi.stubGlobal("WebSocket", undefined);
  expect(() => client({ WebSocket: undefined })).toThrow(/give one, as createClient/);
  expect(FakeSocket.all).toEqual([]);
});

test("the back-off is a random part of a bound that doubles from 0.5 s to 20 s", async () => {
  bound(0.999999);
  const { socket } = await opened();
  await socket.closes();
  for (const seconds of [0.5, 1, 2, 4, 8, 16, 20, 20]) {
    const { length } = FakeSocket.all;
    await pass(seconds * 1000 - 10);
    expect(FakeSocket.all).toHaveLength(length);
    await pass(10);
    expect(FakeSocket.all).toHaveLength(length + 1);
    await FakeSocket.last.closes();
  }
  bound(0);
  await pass(20_000);
  await FakeSocket.last.closes();
  const { length } = FakeSocket.all;
  await pass(1);
  expect(FakeSocket.all).toHaveLength(length + 1);
});

test("the back-off begins anew after a connection of 30 s, not after a shorter one", async () => {
  bound(0.999999);
  let { socket } = await opened();
  for (const [life, pause] of [
    [1000, 500],
    [1000, 1000],
    [31_000, 500],
  ] as const) {
    await pass(life - 1000 > 0 ? 20_000 : 0);
    await socket.says({ event_name: "alive" });
    await pass(life - (life - 1000 > 0 ? 20_000 : 0));
    await socket.closes();
    await pass(pause - 10);
    expect(FakeSocket.last).toBe(socket);
    await pass(10);
    expect(FakeSocket.last).not.toBe(socket);
    socket = FakeSocket.last;
    await socket.opens();
  }
});

test("a peer that is silent for 25 s gets a PING, and after 10 more counts as dead", async () => {
  const { api, socket } = await opened();
  await pass(24_900);
  expect(socket.sent).toEqual([]);
  await pass(1200);
  expect(socket.sent).toEqual([{ method: "PING", id: 1 }]);
  await pass(9000);
  expect(api.status).toBe("open");
  await pass(4000);
  expect(api.status).toBe("offline");
  expect(socket.readyState).toBe(3);
  expect(socket.asked("PING")).toHaveLength(1);
});

test.each([
  ["the reply", { id: 1, status: 200, data: null }],
  ["a push", { event_name: "/x", version: "e.1" }],
  ["nonsense", "<html>"],
])("any byte shows that it lives: %s", async (_, message) => {
  const { api, socket } = await opened();
  await pass(26_500);
  await socket.says(message);
  await pass(20_000);
  expect(api.status).toBe("open");
  expect(socket.asked("PING")).toHaveLength(1);
});

test("after a sleep what came meanwhile is read before the peer counts as dead", async () => {
  const { api, socket } = await opened();
  await pass(26_500);
  vi.spyOn(performance, "now").mockReturnValue(performance.now() + 3_600_000);
  await pass(1000); // One beat: the timers wake up first.
  expect(api.status).toBe("open");
  await socket.says({ id: 1, status: 200, data: null });
  await pass(5000);
  expect(api.status).toBe("open");
});

test("a clock that jumps changes nothing", async () => {
  const { api, socket } = await opened();
  for (const hours of [-5, 10]) {
    vi.setSystemTime(Date.now() + hours * 3_600_000);
    await pass(20_000);
    await socket.says({ event_name: "alive" });
    expect(api.status).toBe("open");
  }
  expect(socket.sent).toEqual([]);
});

test("a connection that does not open is given up after 35 s", async () => {
  const api = client();
  await pass(40_000);
  expect(FakeSocket.all[0]!.readyState).toBe(3);
  expect(api.status).toBe("offline");
  await pass(500);
  expect(FakeSocket.all).toHaveLength(2);
});

function page(): { document: { visibilityState: string }; fire(name: string): void } {
  const listeners = new Map<string, () => void>();
  const add = (name: string, listener: () => void) => void listeners.set(name, listener);
  const remove = (name: string, listener: () => void) => void (listeners.get(name) === listener && listeners.delete(name));
  const document = { visibilityState: "visible" };
  vi.stubGlobal("document", document);
  vi.stubGlobal("addEventListener", add);
  vi.stubGlobal("removeEventListener", remove);
  return { document, fire: (name) => listeners.get(name)?.() };
}

test.each(["online", "visibilitychange", "pageshow"])("%s wakes it: at once a PING, or a connection", async (event) => {
  const { fire, document } = page();
  bound(0.999999);
  const { api, socket } = await opened();
  fire(event);
  expect(socket.asked("PING")).toHaveLength(1);
  fire(event);
  await socket.closes();
  document.visibilityState = "hidden";
  fire(event);
  expect(FakeSocket.all).toHaveLength(1);
  document.visibilityState = "visible";
  fire(event);
  fire(event); // One under way is enough,
  expect(FakeSocket.all).toHaveLength(2);
  await pass(3500);
  fire(event); // unless it hangs: it may have been begun before a sleep.
  expect(FakeSocket.all).toHaveLength(3);
  expect(FakeSocket.all[1]!.readyState).toBe(3);
  await FakeSocket.last.opens();
  expect(api.status).toBe("open");
  api.close();
  fire(event);
  expect(FakeSocket.all).toHaveLength(3);
});

test("a page that is looked at again and again does not keep a dead peer alive", async () => {
  const { fire } = page();
  const { api } = await opened();
  for (let second = 0; second < 14; second++) {
    fire("visibilitychange");
    await pass(1000);
  }
  expect(api.status).toBe("offline");
});

test.each([1000, 1001, 1002, 1006, 1007, 1009, 1011, 1012, 4000, 4503])("after %i it comes back soon", async (code) => {
  const { api, socket } = await opened();
  await socket.closes(code);
  await pass(500);
  expect(FakeSocket.all).toHaveLength(2);
  expect(api.status).toBe("offline");
});

test.each([1013, 4429])("after %i it comes back within 20 s, and not at once", async (code) => {
  bound(0.999999);
  const { socket } = await opened();
  await socket.closes(code);
  await pass(19_000);
  expect(FakeSocket.all).toHaveLength(1);
  await pass(1000);
  expect(FakeSocket.all).toHaveLength(2);
});

test.each([1008, 4401, 4403, 4404])("after %i it does not come back, and what is there ends with the reason", async (code) => {
  const { api, socket } = await opened({ token: "fixed" });
  const status = vi.fn();
  api.subscribe("/value", { onchange() {}, onstatus: status });
  const call = outcome(api.get("/a"));
  await settled();
  await socket.closes(code);
  expect(api.status).toBe("closed");
  expect(call.error).toMatchObject({ name: "ConnectionLost", message: `the server refused the connection with ${code}` });
  expect(status).toHaveBeenLastCalledWith("ended", expect.any(ConnectionLost));
  await pass(60_000);
  expect(FakeSocket.all).toHaveLength(1);
  await expect(api.get("/a")).rejects.toThrow(`the server refused the connection with ${code}`);
  api.signIn("another");
  await FakeSocket.last.opens();
  expect(FakeSocket.all).toHaveLength(2);
  expect(api.status).toBe("open");
  api.subscribe("/value", { onchange() {}, onstatus: status });
  api.close();
  expect(status).toHaveBeenLastCalledWith("ended", undefined);
  await expect(api.get("/a")).rejects.toThrow("the client is closed");
});

test("a handshake that is refused with 401 ends it, where one is told", async () => {
  const api = client();
  FakeSocket.last.onerror?.({ message: "Unexpected server response: 401" });
  expect(api.status).toBe("closed");
});

test("where an error is all that one is told, it comes back", async () => {
  const api = client();
  FakeSocket.last.onerror?.({});
  expect(api.status).toBe("offline");
  await pass(500);
  expect(FakeSocket.all).toHaveLength(2);
});

test("a WebSocket that cannot be made is raised by createClient(), and later tried again", async () => {
  const report = vi.spyOn(console, "error").mockImplementation(() => {});
  let isBroken = true;
  class Broken extends FakeSocket {
    constructor(url: string) {
      if (isBroken) throw new Error("too many sockets");
      super(url);
    }
  }
  expect(() => client({ WebSocket: Broken })).toThrow("too many sockets");
  expect(vi.getTimerCount()).toBe(0);
  isBroken = false;
  const { api, socket } = await opened({ WebSocket: Broken });
  isBroken = true;
  await socket.closes();
  const [read, write] = [outcome(api.get("/a")), outcome(api.post("/a"))];
  await pass(2000);
  expect([api.status, read.isOver, write.error?.mayHaveRun]).toEqual(["offline", false, false]);
  api.signIn("another"); // Nor does it raise here.
  expect(report).toHaveBeenCalledWith(new Error("too many sockets"));
  isBroken = false;
  await pass(20_000);
  await FakeSocket.last.opens();
  expect(api.status).toBe("open");
});

test("calls made before it opens wait for it; where it does not, writes fail", async () => {
  const api = client();
  const [read, write] = [outcome(api.get("/a")), outcome(api.post("/a"))];
  await FakeSocket.last.closes();
  expect([read.isOver, write.error?.mayHaveRun]).toEqual([false, false]);
});

const states = {
  connecting: async () => client(),
  open: async () => (await opened()).api,
  offline: async () => {
    const { api, socket } = await opened();
    await socket.closes();
    return api;
  },
  "connecting again": async () => {
    const { api, socket } = await opened();
    await socket.closes();
    await pass(500);
    return api;
  },
  "waiting for a token": async () => {
    const { api } = await opened({ token: () => new Promise(() => {}) });
    return api;
  },
  closed: async () => {
    const api = client();
    api.close();
    return api;
  },
};

test.each(Object.entries(states))("close() and use after it: %s", async (_, make) => {
  const api = await make();
  const call = outcome(api.get("/a"));
  const changes = api.subscribe("/value");
  await settled();
  api.close();
  api.close();
  api.signIn("late");
  const { length } = FakeSocket.all;
  await settled();
  expect(call.error).toMatchObject({ name: "ConnectionLost" });
  expect(api.status).toBe("closed");
  expect(changes.status).toBe("ended");
  const late = [api.get("/a"), api.post("/a", { idempotencyKey: "0123456789abcdef" })].map(outcome);
  const status = vi.fn();
  api.subscribe("/value", { onchange() {}, onstatus: status }).close();
  await expect(api.subscribe("/value")[Symbol.asyncIterator]().next()).rejects.toThrow("the client is closed");
  for (const { error } of late) expect(error).toMatchObject({ name: "ConnectionLost", mayHaveRun: false });
  expect(status).toHaveBeenCalledWith("ended", expect.any(ConnectionLost));
  for (const each of FakeSocket.all) await each.opens();
  await pass(60_000);
  expect(FakeSocket.all).toHaveLength(length);
  expect(FakeSocket.all.flatMap(({ sent }) => sent.filter(({ method }) => method !== "GET" && method !== "SUBSCRIBE"))).toEqual([]);
  expect(vi.getTimerCount()).toBe(0);
});

test.each(["connecting", "open", "offline", "closed"] as const)("close() by who hears that it is %s", async (when) => {
  const api = client();
  const seen: string[] = [];
  api.onstatus((status) => {
    seen.push(status);
    if (status === when) api.close();
  });
  await FakeSocket.last.opens();
  await FakeSocket.last.closes();
  if (when === "closed" || when === "connecting") api.close();
  await pass(60_000);
  expect(seen.at(-1)).toBe("closed");
  expect(api.status).toBe("closed");
  expect(vi.getTimerCount()).toBe(0);
});

test("what callbacks raise is reported, and disturbs nobody", async () => {
  const report = vi.spyOn(console, "error").mockImplementation(() => {});
  const { api, socket } = await opened();
  const [heard, changes, statuses] = [vi.fn(), vi.fn(), vi.fn()];
  const raise = () => {
    throw new Error("mine");
  };
  for (const callback of [raise, heard]) api.events(callback);
  for (const callback of [raise, statuses]) api.onstatus(callback);
  for (const onchange of [raise, changes]) api.subscribe("/value", { onchange, onstatus: raise });
  await settled();
  await socket.replies("SUBSCRIBE", { topic: "/value", version: "e.1.d", data: 1 });
  await socket.says({ event_name: "/value", version: "e.2.d", data: 2 });
  await socket.says({ event_name: "hello", data: 3 });
  await socket.closes();
  expect(heard.mock.calls).toEqual([[{ name: "hello", data: 3 }]]);
  expect(changes).toHaveBeenCalledTimes(2);
  expect(statuses).toHaveBeenCalledWith("offline");
  expect(report.mock.calls.length).toBeGreaterThanOrEqual(5);
});

test("events end by what events() gives", async () => {
  const { api, socket } = await opened();
  const heard = vi.fn();
  const end = api.events(heard);
  await socket.says({ event_name: null, detail: "what you sent was no JSON" });
  await socket.says({ event_name: "a" });
  end();
  await socket.says({ event_name: "b" });
  expect(heard.mock.calls).toEqual([[{ name: "a", data: undefined }]]);
});
