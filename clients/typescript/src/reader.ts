/** Changes for `for await`: of a value only the last waits, of items so many that nothing piles up. */
import { Lagged } from "./errors.js";
import type { Change } from "./topics.js";

const WAITING = 1024;

export class Reader implements AsyncIterator<any> {
  private changes: Change<any, any>[] = [];
  private wakes: (() => void)[] = [];
  private isDone = false;
  private error: unknown;

  constructor(private readonly leave: () => void) {}

  put(change: Change<any, any>): void {
    if (this.isDone) return;
    if (change.type === "value") {
      const isMissing = this.changes.some((other) => other.type === "item" || other.lost);
      this.changes = [{ ...change, lost: change.lost || isMissing }];
    } else if (this.changes.push(change) > WAITING) {
      this.changes = [];
      this.end(new Lagged(WAITING));
      this.leave();
    }
    this.wake();
  }

  forget(): void {
    this.changes = [];
  }

  end(error?: unknown): void {
    if (this.isDone) return;
    this.isDone = true;
    this.error = error;
    this.wake();
  }

  async next(): Promise<IteratorResult<any>> {
    while (!this.changes.length && !this.isDone) await new Promise<void>((resolve) => this.wakes.push(resolve));
    if (this.changes.length) return { done: false, value: this.changes.shift() };
    const { error } = this;
    this.error = undefined;
    if (error !== undefined) throw error;
    return { done: true, value: undefined };
  }

  async return(): Promise<IteratorResult<any>> {
    this.changes = [];
    this.end();
    this.leave();
    return { done: true, value: undefined };
  }

  private wake(): void {
    for (const wake of this.wakes.splice(0)) wake();
  }
}
