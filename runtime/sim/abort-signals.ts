/**
 * AbortController and AbortSignal for a simulated run, with what the product uses of them. Node's are event targets,
 * which takes a tenth of a run, and it keeps a signal made of several for as long as somebody listens to it: those who
 * listen in a simulated process that has died never leave, so every run would stay in memory.
 *
 * As Node's: listeners are called once, at once, in the order in which they came; then those of the signals that were
 * made of this one.
 */

type Listener = () => void;

class PlainAbortSignal {
  #isAborted = false;
  #reason: unknown;
  readonly #sources: readonly PlainAbortSignal[];
  /** In the order in which they are to be called. */
  readonly #listeners = new Set<Listener>();
  /** Made of this one, and listened to: nobody else need be told. */
  readonly #dependents = new Set<PlainAbortSignal>();

  constructor(sources: readonly PlainAbortSignal[] = []) {
    this.#sources = sources;
  }

  static abort(reason?: unknown): PlainAbortSignal {
    const signal = new PlainAbortSignal();
    signal.abort(reason);
    return signal;
  }

  static any(signals: Iterable<PlainAbortSignal>): PlainAbortSignal {
    return new PlainAbortSignal([...signals]);
  }

  get aborted(): boolean {
    return this.#isAborted || this.#sources.some((source) => source.aborted);
  }

  get reason(): unknown {
    if (!this.aborted) return undefined;
    const source = this.#isAborted ? undefined : this.#sources.find(({ aborted }) => aborted);
    if (source !== undefined) return source.reason;
    this.#reason ??= new DOMException("This operation was aborted", "AbortError");
    return this.#reason;
  }

  throwIfAborted(): void {
    if (this.aborted) throw this.reason;
  }

  addEventListener(_: "abort", listener: Listener): void {
    if (this.aborted) return;
    if (this.#listeners.size === 0) this.#follow();
    this.#listeners.add(listener);
  }

  removeEventListener(_: "abort", listener: Listener): void {
    if (this.#listeners.delete(listener)) this.#unfollowIfIdle();
  }

  /** For node:events, which warns of many listeners. */
  setMaxListeners(): void {}

  /** For the controller. */
  abort(reason: unknown): void {
    if (this.#isAborted) return;
    this.#reason = reason;
    this.#isAborted = true;
    const listeners = [...this.#listeners];
    const dependents = [...this.#dependents];
    for (const listener of listeners) {
      // Another one may have taken it away.
      if (!this.#listeners.delete(listener)) continue;
      try {
        listener();
      } catch (error) {
        // As an exception that nobody catches.
        void Promise.reject(error as Error);
      }
    }
    this.#listeners.clear();
    for (const source of this.#sources) source.#dependents.delete(this);
    for (const dependent of dependents) dependent.abort(reason);
  }

  #follow(): void {
    for (const source of this.#sources) source.#dependOn(this);
  }

  #dependOn(dependent: PlainAbortSignal): void {
    if (this.#listeners.size === 0 && this.#dependents.size === 0) this.#follow();
    this.#dependents.add(dependent);
  }

  #unfollowIfIdle(): void {
    if (this.#listeners.size > 0 || this.#dependents.size > 0) return;
    for (const source of this.#sources) {
      source.#dependents.delete(this);
      source.#unfollowIfIdle();
    }
  }
}

class PlainAbortController {
  readonly signal = new PlainAbortSignal();

  abort(reason?: unknown): void {
    this.signal.abort(reason);
  }
}

/** By the names that they have in the world. */
export const PLAIN_ABORT = { AbortController: PlainAbortController, AbortSignal: PlainAbortSignal };
