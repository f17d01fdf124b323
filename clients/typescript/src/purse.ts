/** The token of one user: asked for before the old one expires, and once more when the server refuses it. */

/** A token, or what gives one, each time it is needed; null: nobody is signed in. */
export type Token = string | (() => string | null | Promise<string | null>);

/** Milliseconds of a clock that nobody sets. */
export const now = (): number => performance.now();

const MARGIN = 30_000; // ms before its expiry in which a token is not used any more, or half of its life
export const PATIENCE = 10_000; // ms after which a callback that has given nothing is asked again
const LEAST = 1000; // ms for which any token is used: a callback may give one that has expired by our clock

/** What a JSON Web Token says; nothing, if it is none. */
function claims(token: string | null): Record<string, unknown> {
  try {
    const body = token!.split(".")[1]!.replace(/-/g, "+").replace(/_/g, "/");
    return Object(JSON.parse(atob(body)));
  } catch {
    return {};
  }
}

/** Whose token it is: "" is somebody of whom it says nothing. */
function owner(token: string): string {
  const { iss, sub } = claims(token);
  return sub === undefined ? "" : `${iss} ${sub}`;
}

export class Purse {
  private token?: string | null;
  private due = 0;
  private asking?: Promise<void>;
  private asked = 0;

  /** `renewed` is told of each new token but the first; `another`: it belongs to another user, or to nobody. */
  constructor(
    private readonly source: Token | undefined,
    private readonly renewed: (another: boolean) => void,
  ) {}

  get renewable(): boolean {
    return typeof this.source === "function";
  }

  /** The token to send, null for none, undefined while one has to be asked for. */
  get fresh(): string | null | undefined {
    if (typeof this.source !== "function") return this.source ?? null;
    return now() < this.due ? this.token : undefined;
  }

  /** Milliseconds until the next token is asked for. */
  get rest(): number {
    return this.renewable ? this.due - now() : Infinity;
  }

  /** The server takes `token` no longer. */
  refuse(token: string | null | undefined): void {
    if (token === this.token) this.due = 0;
  }

  /** Ask for a token: whoever does so meanwhile waits for the same. Raises what the callback does. */
  ask(): Promise<void> {
    if (!this.asking || now() - this.asked > PATIENCE) {
      this.asked = now();
      const asking = this.fetch().finally(() => {
        if (asking === this.asking) this.asking = undefined;
      });
      this.asking = asking;
    }
    return this.asking;
  }

  private async fetch(): Promise<void> {
    const { asked } = this;
    const token = (await (this.source as () => string | null | Promise<string | null>)()) ?? null;
    if (asked !== this.asked) return; // It comes behind a newer one.
    const before = this.token;
    const left = Number(claims(token).exp ?? Infinity) * 1000 - Date.now();
    this.token = token;
    this.due = now() + Math.max(LEAST, left - Math.min(MARGIN, left / 2));
    if (before === undefined || before === token) return;
    this.renewed(before !== null && (token === null || owner(before) !== owner(token)));
  }
}
