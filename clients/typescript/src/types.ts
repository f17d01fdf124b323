/** Types of calls, from the `paths` that openapi-typescript makes of a server's OpenAPI document. */

export type Method = "get" | "post" | "put" | "patch" | "delete";

/** What `createClient()` takes without `paths`: every url, every method, anything in and out. */
export type AnyPaths = Record<string, Record<Method, any>>;

/** The urls of `P` that answer the method `M`. */
export type Urls<P, M extends Method> = {
  [U in keyof P]: P[U] extends { [m in M]: infer O } ? (O extends object ? U : never) : never;
}[keyof P] &
  string;

export type Operation<P, U extends keyof P, M extends Method> = P[U] extends { [m in M]: infer O } ? O : never;

type IsAny<T> = 0 extends 1 & T ? true : false;
type Field<X, N extends string, As extends string> = N extends keyof X
  ? [Exclude<X[N], undefined>] extends [never]
    ? {}
    : {} extends Pick<X, N>
      ? { [k in As]?: X[N] }
      : { [k in As]: X[N] }
  : {};
type Parameters<O> = O extends { parameters: infer X } ? X : {};
type Content<B> = B extends { content: infer C } ? C[keyof C] : never;
type Body<O> = O extends { requestBody: infer B }
  ? { data: Content<B> }
  : O extends { requestBody?: infer B }
    ? [Exclude<B, undefined>] extends [never]
      ? {}
      : unknown extends B
        ? {}
        : { data?: Content<Exclude<B, undefined>> }
    : {};

export interface CallOptions {
  /** Milliseconds until the call fails with `TimedOut`; 0: never. */
  timeout?: number;
  signal?: AbortSignal;
  /** 16 to 128 characters, for this call alone: the server runs it once, and so it is kept and sent again over a drop. */
  idempotencyKey?: string;
}

/** What goes into a request: `path` for `{names}` of the url, `args` (the query parameters), `data` (the body). */
export type Inputs<O> =
  IsAny<O> extends true
    ? { path?: Record<string, string | number>; args?: Record<string, unknown>; data?: unknown }
    : Field<Parameters<O>, "path", "path"> & Field<Parameters<O>, "query", "args"> & Body<O>;

export type Rest<T> = {} extends T ? [options?: T] : [options: T];

type Success = 200 | 201 | 202 | 203 | 204 | "2XX";
export type Reply<O> =
  IsAny<O> extends true
    ? any
    : O extends { responses: infer R }
      ? { [S in keyof R & Success]: R[S] extends { content: infer C } ? C[keyof C] : null }[keyof R & Success]
      : unknown;

/** An item of a log: its first value is a list of them. */
export type Item<T> = IsAny<T> extends true ? any : T extends readonly (infer I)[] ? I : never;
