/** What the compiler says of calls, by what openapi-typescript makes of a server's document. */
import { expectTypeOf, test } from "vitest";
import type { Client, Urls } from "../src/index.js";
import { useRequest, useSubscription } from "../src/react.js";
import type { components, paths } from "./schema.js";

type Order = components["schemas"]["Order"];
type Value = components["schemas"]["Value"];

/** Never run: the compiler reads it. */
const checked = (check: (api: Client<paths>) => unknown) => expectTypeOf(check).toBeFunction();

test("replies have the type of the route", () => {
  checked(async (api) => {
    expectTypeOf(await api.get("/orders/{id}", { path: { id: 7 } })).toEqualTypeOf<Order>();
    expectTypeOf(await api.get("/orders")).toEqualTypeOf<Order[]>();
    expectTypeOf(await api.post("/orders", { data: { title: "a", amount: 1 } })).toEqualTypeOf<Order>();
    expectTypeOf(await api.delete("/orders/{id}", { path: { id: 7 } })).toEqualTypeOf<null>();
    expectTypeOf(await api.get("/never")).toEqualTypeOf<unknown>();
    expectTypeOf(await api.request("get", "/orders")).toEqualTypeOf<Order[]>();
  });
});

test("urls are those that answer the method", () => {
  expectTypeOf<Urls<paths, "delete">>().toEqualTypeOf<"/orders/{id}">();
  expectTypeOf<Urls<paths, "put">>().toEqualTypeOf<"/value">();
  checked(async (api) => {
    // @ts-expect-error no such url
    await api.get("/nowhere");
    // @ts-expect-error no such method of it
    await api.put("/orders/{id}", { path: { id: 7 } });
    // @ts-expect-error no such method of it
    await api.request("patch", "/orders");
    // @ts-expect-error what does not answer GET cannot be followed
    api.subscribe("/drop");
  });
});

test("path, args and data are those of the route", () => {
  checked(async (api) => {
    await api.get("/orders", { args: { limit: 3 }, timeout: 100, signal: AbortSignal.timeout(1) });
    // @ts-expect-error the path is needed
    await api.get("/orders/{id}");
    // @ts-expect-error the id is a number
    await api.get("/orders/{id}", { path: { id: "7" } });
    // @ts-expect-error no such argument
    await api.get("/orders", { args: { most: 3 } });
    // @ts-expect-error the body is needed
    await api.post("/orders");
    // @ts-expect-error the body has a title
    await api.post("/orders", { data: { amount: 1 } });
    // @ts-expect-error a GET has no body
    await api.get("/orders", { data: 1 });
    await api.post("/orders", { data: { title: "a", amount: 1 }, idempotencyKey: crypto.randomUUID() });
  });
});

test("changes have the type of the reply, and items that of its elements", () => {
  checked(async (api) => {
    for await (const change of api.subscribe("/log")) {
      if (change.type === "item") expectTypeOf(change.data).toEqualTypeOf<Value>();
      else expectTypeOf(change.data).toEqualTypeOf<Value[]>();
    }
    for await (const change of api.subscribe("/value")) {
      if (change.type === "value") expectTypeOf(change.data).toEqualTypeOf<Value>();
      else expectTypeOf(change.data).toEqualTypeOf<never>();
    }
    api.subscribe("/value", {
      presence: { typing: true },
      onchange: (change) => change.type === "value" && expectTypeOf(change.data).toEqualTypeOf<Value>(),
      onstatus: (status) => expectTypeOf(status).toEqualTypeOf<"stale" | "live" | "ended">(),
    });
  });
});

test("hooks have the types of the calls", () => {
  checked((api) => {
    expectTypeOf(useRequest(api, "/orders/{id}", { path: { id: 7 } }).data).toEqualTypeOf<Order | undefined>();
    expectTypeOf(useSubscription(api, "/value").data).toEqualTypeOf<Value | undefined>();
    useSubscription(api, "/value", { presence: { typing: true } });
    // @ts-expect-error the path is needed
    useRequest(api, "/orders/{id}");
  });
});

test("without `paths` everything may be asked, and anything comes", () => {
  const check = async (api: Client) => {
    expectTypeOf(await api.get("/a/{b}", { path: { b: 1 }, args: { c: [1] } })).toBeAny();
    expectTypeOf(await api.post("/a", { data: 1 })).toBeAny();
    for await (const change of api.subscribe("/a")) expectTypeOf(change.data).toBeAny();
  };
  expectTypeOf(check).toBeFunction();
});
