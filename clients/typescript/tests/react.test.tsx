/** The hooks, drawn by React itself, in StrictMode too. @vitest-environment happy-dom */
import { act, type ReactNode, StrictMode } from "react";
import { createRoot, type Root } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Client } from "../src/index.js";
import { useRequest, useSubscription } from "../src/react.js";
import { FakeSocket, opened, pass, settled, withFakeTime } from "./fake.js";

withFakeTime();
(globalThis as any).IS_REACT_ACT_ENVIRONMENT = true;

let root: Root;
let host: HTMLElement;
beforeEach(() => {
  host = document.createElement("div");
  root = createRoot(host);
});
afterEach(() => act(() => root.unmount()));

const draw = (node: ReactNode) =>
  act(async () => {
    root.render(<StrictMode>{node}</StrictMode>);
    await settled();
  });
const told = (socket: FakeSocket, message: Record<string, unknown>) => act(() => socket.says(message));
const text = () => host.textContent;

function Value({ api, url, args }: { api: Client; url: string; args?: Record<string, unknown> }) {
  const { data, status, error } = useSubscription(api, url, { args });
  return (
    <>
      {JSON.stringify(data)} {status} {error ? String(error) : ""}
    </>
  );
}

let reload: () => void;
function Order({ api, id }: { api: Client; id: number }) {
  const answer = useRequest(api, "/orders/{id}", { path: { id } });
  reload = answer.reload;
  return (
    <>
      {JSON.stringify(answer.data)} {String(answer.loading)} {answer.error ? String(answer.error) : ""}
    </>
  );
}

const state = { status: 200, topic: "/x", version: "e.1.d", data: 1 };

test("a subscription is drawn as it changes, once however often it is mounted, and ends when it is unmounted", async () => {
  const { api, socket } = await opened();
  await draw(<Value api={api} url="/x" />);
  expect(text()).toBe(" stale ");
  expect(socket.asked("SUBSCRIBE")).toHaveLength(1);
  await told(socket, { id: socket.asked("SUBSCRIBE")[0].id, ...state });
  expect(text()).toBe("1 live ");
  await told(socket, { event_name: "/x", version: "e.2.d", data: 2 });
  await draw(<Value api={api} url="/x" />); // Drawn again, and asked for no more.
  expect(text()).toBe("2 live ");
  expect(socket.sent).toHaveLength(1);
  await draw(null);
  expect(socket.sent.map(({ method }) => method)).toEqual(["SUBSCRIBE", "UNSUBSCRIBE"]);
});

test("another url or other args are another subscription, and nothing of the old one is drawn", async () => {
  const { api, socket } = await opened();
  await draw(<Value api={api} url="/x" args={{ n: 1 }} />);
  await told(socket, { id: socket.asked("SUBSCRIBE")[0].id, ...state });
  await draw(<Value api={api} url="/x" args={{ n: 1 }} />);
  expect(socket.asked("SUBSCRIBE")).toHaveLength(1);
  await draw(<Value api={api} url="/x" args={{ n: 2 }} />);
  expect(text()).toBe(" stale ");
  expect(socket.sent.map(({ method, args }) => [method, args.n])).toEqual([
    ["SUBSCRIBE", 1],
    ["UNSUBSCRIBE", 1],
    ["SUBSCRIBE", 2],
  ]);
});

test("two components that follow the same share it", async () => {
  const { api, socket } = await opened();
  await draw([<Value key="1" api={api} url="/x" />, <Value key="2" api={api} url="/x" />]);
  await told(socket, { id: socket.asked("SUBSCRIBE")[0].id, ...state });
  expect(text()).toBe("1 live 1 live ");
  expect(socket.sent).toHaveLength(1);
  await draw(<Value key="1" api={api} url="/x" />);
  expect(socket.sent).toHaveLength(1);
});

test("of a log the items are drawn behind its first value, 1,000 at most", async () => {
  const { api, socket } = await opened();
  let length = 0;
  function Length() {
    const { data } = useSubscription(api, "/x");
    length = (data as unknown[] | undefined)?.length ?? 0;
    return <>{JSON.stringify((data as unknown[] | undefined)?.slice(-2))}</>;
  }
  await draw(<Length />);
  await told(socket, { id: socket.asked("SUBSCRIBE")[0].id, ...state, version: "e.0", data: [0] });
  for (let n = 1; n <= 3; n++) await told(socket, { event_name: "/x", version: `e.${n}`, data: n });
  expect([length, text()]).toEqual([4, "[2,3]"]);
  await act(async () => {
    for (let n = 4; n < 1100; n++) socket.onmessage?.({ data: JSON.stringify({ event_name: "/x", version: `e.${n}`, data: n }) });
  });
  expect([length, text()]).toEqual([1000, "[1098,1099]"]);
});

test("the end of a subscription is drawn with its reason", async () => {
  const { api, socket } = await opened();
  await draw(<Value api={api} url="/x" />);
  await told(socket, { id: socket.asked("SUBSCRIBE")[0].id, status: 405, detail: "no" });
  expect(text()).toBe(" ended RequestFailed: 405: no");
});

test("nothing of the old user is drawn once another has signed in", async () => {
  const { api, socket } = await opened({ token: "Ada's" });
  await draw([<Value key="1" api={api} url="/x" />, <Order key="2" api={api} id={7} />]);
  await told(socket, { id: socket.asked("SUBSCRIBE")[0].id, ...state });
  await told(socket, { id: socket.asked("GET").at(-1).id, status: 200, data: "Ada's order" });
  expect(text()).toBe('1 live "Ada\'s order" false ');
  await act(async () => {
    api.signIn("Bob's");
    await settled();
  });
  expect(text()).toBe(" stale  true ");
  await act(() => FakeSocket.last.opens());
  const [{ id }] = FakeSocket.last.asked("GET");
  await told(FakeSocket.last, { id, status: 200, data: "Bob's order" });
  expect(text()).toBe(' stale "Bob\'s order" false ');
});

test("a request is drawn while it loads, when it is there, and when it fails", async () => {
  const { api, socket } = await opened();
  await draw(<Order api={api} id={7} />);
  expect(text()).toBe(" true ");
  await told(socket, { id: socket.asked("GET").at(-1).id, status: 200, data: "seven" });
  expect(text()).toBe('"seven" false ');
  await act(async () => reload());
  expect(text()).toBe('"seven" true ');
  await told(socket, { id: socket.asked("GET").at(-1).id, status: 500, detail: "no" });
  expect(text()).toBe('"seven" false RequestFailed: 500: no');
  await act(async () => reload());
  await told(socket, { id: socket.asked("GET").at(-1).id, status: 200, data: "again" });
  expect(text()).toBe('"again" false ');
});

test("the reply to an old request is not drawn in the place of the new one", async () => {
  const { api, socket } = await opened();
  await draw(<Order api={api} id={7} />);
  const old = socket.asked("GET").at(-1).id;
  await draw(<Order api={api} id={8} />);
  await told(socket, { id: old, status: 200, data: "seven" });
  expect(text()).toBe(" true ");
  await told(socket, { id: socket.asked("GET").at(-1).id, status: 200, data: "eight" });
  expect(text()).toBe('"eight" false ');
  await draw(null);
  const { length } = socket.sent;
  reload(); // It is not there any more.
  await pass(100);
  expect(socket.sent).toHaveLength(length);
});

test("on a server they draw that they load, and ask nothing", async () => {
  const { api, socket } = await opened();
  expect(renderToString(<Value api={api} url="/x" />)).toContain("stale");
  expect(renderToString(<Order api={api} id={7} />)).toContain("true");
  await settled();
  expect(socket.sent).toEqual([]);
});
