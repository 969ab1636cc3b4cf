/**
 * A bounded mailbox: at most `concurrency` of its messages are handled at once, and at most `capacity` wait. One more
 * is refused at once, as `overloaded`, so that a slow actor pushes back instead of growing.
 */
import { VdbError } from "../errors.ts";

export interface MailboxOptions {
  /** Messages handled at once. 1 makes the operation serial. */
  concurrency: number;
  /** Messages waiting beyond those. */
  capacity: number;
}

export class Mailbox {
  readonly #options: MailboxOptions;
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #idle: (() => void)[] = [];

  constructor(options: MailboxOptions) {
    this.#options = options;
  }

  get depth(): number {
    return this.#running + this.#waiting.length;
  }

  async run<T>(task: () => Promise<T> | T): Promise<T> {
    if (this.#running >= this.#options.concurrency) {
      if (this.#waiting.length >= this.#options.capacity) {
        throw new VdbError("overloaded", `mailbox is full: ${this.depth} messages in it, ask again later`);
      }
      // A message that ends hands its place over, so #running does not change in between.
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else {
      this.#running++;
    }
    try {
      return await task();
    } finally {
      const next = this.#waiting.shift();
      if (next !== undefined) next();
      else this.#leave();
    }
  }

  /** Resolves when nothing runs and nothing waits. */
  async idle(): Promise<void> {
    if (this.#running === 0) return;
    await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #leave(): void {
    this.#running--;
    if (this.#running > 0) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}
