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
  /** As a rule one or two. */
  #listeners: (() => void)[] | undefined;

  get aborted(): boolean {
    return this.#isAborted;
  }

  addEventListener(_type: "abort", listener: () => void): void {
    if (this.#isAborted) return;
    this.#listeners ??= [];
    if (!this.#listeners.includes(listener)) this.#listeners.push(listener);
  }

  removeEventListener(_type: "abort", listener: () => void): void {
    const at = this.#listeners?.indexOf(listener) ?? -1;
    if (at >= 0) this.#listeners!.splice(at, 1);
  }

  /** Idempotent. */
  abort(): void {
    if (this.#isAborted) return;
    this.#isAborted = true;
    // A listener that another one takes away is not called.
    for (let next = this.#listeners?.shift(); next !== undefined; next = this.#listeners?.shift()) next();
  }
}
