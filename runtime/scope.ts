/**
 * What an actor has started and must stop: tasks, subscriptions, files, other scopes. Closing a scope aborts its
 * signal, then disposes in reverse order. A task that fails (other than by being stopped) fails the scope.
 */
import { setMaxListeners } from "node:events";
import { isVdbError } from "./errors.ts";

export class Scope {
  readonly #controller = new AbortController();
  readonly #disposals: (() => Promise<void> | void)[] = [];
  readonly #tasks = new Set<Promise<void>>();
  readonly #onFailure: (task: string, error: unknown) => void;

  constructor(onFailure: (task: string, error: unknown) => void) {
    this.#onFailure = onFailure;
    // Every wait of the actor listens to it while it lasts; Node's warning at 11 would tell of no leak.
    setMaxListeners(0, this.#controller.signal);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Runs a task until it ends or the scope closes; its failure is the scope's. */
  spawn(name: string, task: (signal: AbortSignal) => Promise<void>): void {
    const running = (async () => {
      try {
        await task(this.signal);
      } catch (error) {
        if (this.signal.aborted && (isVdbError(error, "canceled") || (error as Error).name === "AbortError")) return;
        this.#onFailure(name, error);
      }
    })();
    this.#tasks.add(running);
    void running.finally(() => this.#tasks.delete(running));
  }

  defer(dispose: () => Promise<void> | void): void {
    this.#disposals.push(dispose);
  }

  use<T extends Disposable | AsyncDisposable>(resource: T): T {
    this.defer(async () => {
      if (Symbol.asyncDispose in resource) await resource[Symbol.asyncDispose]();
      else (resource as Disposable)[Symbol.dispose]();
    });
    return resource;
  }

  /** Idempotent. Rejects with the first disposal that failed, after having tried all. */
  async close(): Promise<void> {
    this.#controller.abort();
    await Promise.all(this.#tasks);
    let failure: unknown;
    for (const dispose of this.#disposals.splice(0).reverse()) {
      try {
        await dispose();
      } catch (error) {
        failure ??= error;
      }
    }
    if (failure !== undefined) throw failure;
  }
}
