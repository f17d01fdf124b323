/** The server refused or failed: `status` as in HTTP, `detail` as the server sent it. */
export class RequestFailed extends Error {
  override name = "RequestFailed";
  constructor(
    readonly status: number,
    readonly detail: unknown,
    /** Milliseconds after which it makes sense to try again. */
    readonly retry?: number,
  ) {
    super(`${status}: ${typeof detail === "string" ? detail : JSON.stringify(detail)}`);
  }
}

/** No reply came, as there is no connection. Where `mayHaveRun` is false, the server has not seen the request. */
export class ConnectionLost extends Error {
  override name = "ConnectionLost";
  constructor(
    message: string,
    readonly mayHaveRun: boolean,
  ) {
    super(message);
  }
}

/** No reply came in time; the request may have run if `mayHaveRun`. */
export class TimedOut extends Error {
  override name = "TimedOut";
  constructor(readonly mayHaveRun: boolean) {
    super("no reply came in time: is the server busy, or the timeout too short?");
  }
}

/** What came is no message of aiorest-ws. */
export class UnexpectedReply extends Error {
  override name = "UnexpectedReply";
  constructor() {
    super("what came is no reply of aiorest-ws: is it the url of such a server?");
  }
}

/** A reader of a subscription has not read for so long that items would pile up. */
export class Lagged extends Error {
  override name = "Lagged";
  constructor(items: number) {
    super(`${items} items wait to be read: read faster, or by a callback`);
  }
}
