import { expectTypeOf, test } from "vitest";
import { createClient } from "../src/index.js";

interface Order { id: number; title: string }
interface paths {
  "/orders/{id}": {
    get: { parameters: { query?: never; path: { id: number } }; requestBody?: never; responses: { 200: { content: { "application/json": Order } } } };
    put?: never;
  };
  "/orders": {
    get: { parameters: { query?: { limit?: number } }; responses: { 200: { content: { "application/json": Order[] } } } };
    post: { parameters: {}; requestBody: { content: { "application/json": { title: string } } }; responses: { 201: { content: { "application/json": Order } } } };
  };
}
const never = () => {
  const api = createClient<paths>({ url: "ws://x" });
  return api;
};

test("calls are typed by paths", () => {
  const check = async (api: ReturnType<typeof never>) => {
    expectTypeOf(await api.get("/orders/{id}", { path: { id: 7 } })).toEqualTypeOf<Order>();
    expectTypeOf(await api.get("/orders")).toEqualTypeOf<Order[]>();
    expectTypeOf(await api.get("/orders", { args: { limit: 3 } })).toEqualTypeOf<Order[]>();
    expectTypeOf(await api.post("/orders", { data: { title: "a" } })).toEqualTypeOf<Order>();
    // @ts-expect-error the path is needed
    await api.get("/orders/{id}");
    // @ts-expect-error no such url
    await api.get("/nowhere");
    // @ts-expect-error no such method of it
    await api.put("/orders/{id}", { path: { id: 7 } });
    // @ts-expect-error the body has a title
    await api.post("/orders", { data: {} });
    for await (const change of api.subscribe("/orders")) {
      if (change.type === "item") expectTypeOf(change.data).toEqualTypeOf<Order>();
      else expectTypeOf(change.data).toEqualTypeOf<Order[]>();
    }
  };
  expectTypeOf(check).toBeFunction();
});
