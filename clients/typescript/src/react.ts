/** Hooks of React: a reply, and a value that keeps up. */
import { useCallback, useMemo, useRef, useSyncExternalStore } from "react";
import type { Change, Client, Inputs, Operation, Reply, Rest, SubscribeOptions, TopicStatus, Urls } from "./index.js";

export interface Asked<T> {
  /** Of the last reply that was none of an error. */
  data: T | undefined;
  error: unknown;
  loading: boolean;
}

export interface Followed<T> {
  data: T | undefined;
  status: TopicStatus;
  error: unknown;
}

const ITEMS = 1000;
const nothing = () => {};

/** A store per client, url and options, that begins when a component looks at it. */
function useStore<S>(first: S, begin: (set: (change: (state: S) => S) => void) => () => void, key: readonly unknown[]): S {
  const store = useMemo(() => {
    let state = first;
    return {
      get: () => state,
      watch: (redraw: () => void) =>
        begin((change) => {
          state = change(state);
          redraw();
        }),
    };
  }, key);
  return useSyncExternalStore(store.watch, store.get, store.get);
}

/** The reply to a GET; asked again when url or options change, when another user signs in, and by `reload()`. */
export function useRequest<P, U extends Urls<P, "get">>(
  client: Client<P>,
  url: U,
  ...[options]: Rest<Inputs<Operation<P, U, "get">>>
): Asked<Reply<Operation<P, U, "get">>> & { reload(): void } {
  type Answer = Asked<Reply<Operation<P, U, "get">>>;
  const first: Answer = { data: undefined, error: undefined, loading: true };
  const again = useRef<() => void>(nothing);
  const answer = useStore<Answer>(
    first,
    (set) => {
      let controller = new AbortController();
      const ask = () => {
        controller.abort();
        const { signal } = (controller = new AbortController());
        (client.get as any)(url, { ...options, signal }).then(
          (data: any) => signal.aborted || set(() => ({ data, error: undefined, loading: false })),
          (error: unknown) => signal.aborted || set((state) => ({ ...state, error, loading: false })),
        );
      };
      again.current = () => {
        set((state) => ({ ...state, loading: true }));
        ask();
      };
      const forget = client.onuser(() => {
        set(() => first);
        ask();
      });
      ask();
      return () => {
        again.current = nothing;
        forget();
        controller.abort();
      };
    },
    [client, url, JSON.stringify(options)],
  );
  return { ...answer, reload: useCallback(() => again.current(), []) };
}

/** The value of a url, and whether it is live; of a log the first value with its items behind it, 1,000 at most. */
export function useSubscription<P, U extends Urls<P, "get">>(
  client: Client<P>,
  url: U,
  ...[options]: Rest<Inputs<Operation<P, U, "get">> & Pick<SubscribeOptions<unknown>, "presence">>
): Followed<Reply<Operation<P, U, "get">>> {
  type State = Followed<Reply<Operation<P, U, "get">>>;
  return useStore<State>(
    { data: undefined, status: "stale", error: undefined },
    (set) => {
      const forget = client.onuser(() => set((state) => ({ ...state, data: undefined })));
      const subscription = (client.subscribe as any)(url, {
        ...options,
        onchange: (change: Change<any, any>) =>
          set((state) => ({
            ...state,
            data: change.type === "value" ? change.data : [...((state.data as any) ?? []), change.data].slice(-ITEMS),
          })),
        onstatus: (status: TopicStatus, error: unknown) => set((state) => ({ ...state, status, error })),
      });
      return () => {
        forget();
        subscription.close();
      };
    },
    [client, url, JSON.stringify(options)],
  );
}
