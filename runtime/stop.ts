/**
 * Giving up what nobody wants any more. A search listens for it at each of its hops, and an AbortController is an event
 * target that makes an exception when it aborts: 10 µs each. This is the part of it that is used, at a hundredth of that.
 */

/** What is listened to. An AbortSignal is one. */
export interface StopSignal {
  readonly aborted: boolean;
  addEventListener(type: "abort", listener: () => void, options?: { once: boolean }): void;
  removeEventListener(type: "abort", listener: () => void): void;
}

/** Controller and signal in one. Listeners are called once, in the order in which they came; one of a stop that is over never is. */
export class Stop implements StopSignal {
  #isAborted = false;
  #listeners: Set<() => void> | undefined;

  get aborted(): boolean {
    return this.#isAborted;
  }

  addEventListener(_type: "abort", listener: () => void): void {
    if (this.#isAborted) return;
    this.#listeners ??= new Set();
    this.#listeners.add(listener);
  }

  removeEventListener(_type: "abort", listener: () => void): void {
    this.#listeners?.delete(listener);
  }

  /** Idempotent. */
  abort(): void {
    if (this.#isAborted) return;
    this.#isAborted = true;
    // A Set skips what is deleted while it is walked: a listener that another one takes away is not called.
    for (const listener of this.#listeners ?? []) listener();
    this.#listeners = undefined;
  }
}
