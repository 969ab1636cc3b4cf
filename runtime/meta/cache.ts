/**
 * What a node knows of the meta store: decoded values, kept fresh by a watch, read without waiting.
 *
 * Owns the decoded copy of the keys under its prefixes.
 * Invariants
 *   K1. A commit is applied completely before anybody sees any of it: readers and subscribers never see half a batch.
 *   K2. `revision` is the newest revision applied; everything up to it is in, whatever its key.
 *
 * It watches the whole store, including keys that it does not keep: revisions are numbered over all keys, so a watch of
 * some could not tell "nothing of mine up to 90" from "not there yet", and waitFor(90) would hang. The store changes at
 * the rate of flushes and DDL, not of writes, so the rest costs little.
 */
import type { Clock } from "../clock.ts";
import { errorMessage, VdbError } from "../errors.ts";
import type { MetaChange, MetaPort, MetaWatch } from "./port.ts";

export interface MetaCacheOptions {
  meta: MetaPort;
  /** What to keep: `coll.` for the keys with that prefix, `a` for one key. */
  prefixes: string[];
  /** Runs once per change, on arrival. If it throws, the value is corrupt and the old one stays. */
  decode: (key: string, bytes: Uint8Array) => unknown;
  /** Called for each value that does not decode, for logging. */
  onCorrupt: (error: VdbError) => void;
  clock: Clock;
  /** Closes the cache. */
  signal: AbortSignal;
}

export interface MetaCache extends AsyncDisposable {
  /** The value under a key, undefined when there is none. Shared: not to be changed. */
  get(key: string): unknown;
  /** Values and revisions of the keys that begin with prefix (at least a whole first token), in no order. Not to be held across an await. */
  entries(prefix: string): IterableIterator<[key: string, value: unknown, revision: number]>;
  /** Revision of a key's value, 0 when there is none: what a compare-and-set of it must expect. */
  revisionOf(key: string): number;
  readonly revision: number;
  /** Resolves once everything up to revision is applied. @throws VdbError deadline_exceeded, canceled, unavailable */
  waitFor(revision: number, deadlineMonotonicMs: number): Promise<void>;
  /** Catches up with the store as it is now; returns its revision. @throws VdbError deadline_exceeded, canceled, unavailable */
  sync(deadlineMonotonicMs: number): Promise<number>;
  /** Calls back after each commit with the keys under prefix that it changed or deleted. If the callback throws, the cache fails. */
  subscribe(prefix: string, callback: (changedKeys: string[]) => void): Disposable;
  /** Rejects when the cache can no longer be kept fresh: the node cannot go on with it. */
  readonly failed: Promise<never>;
  close(): Promise<void>;
}

/**
 * Resolves when the state as of the call is in.
 * @throws VdbError unavailable, canceled
 */
export async function startMetaCache(options: MetaCacheOptions): Promise<MetaCache> {
  const { meta, signal } = options;
  const cache = new WatchedCache(options);
  const watch = await meta.watch([""], (changes) => cache.apply(changes));
  const onAbort = (): void => void cache.close().catch(() => undefined);
  cache.attach(watch, () => signal.removeEventListener("abort", onAbort));
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  await watch.ready;
  return cache;
}

interface Entry {
  value: unknown;
  revision: number;
}

interface Waiter {
  revision: number;
  resolve: () => void;
  reject: (error: VdbError) => void;
  timer: Disposable;
}

class WatchedCache implements MetaCache {
  readonly failed: Promise<never>;
  readonly #options: MetaCacheOptions;
  /** By the key's first token, its kind: a request for all of a kind does not walk the others. */
  readonly #kinds = new Map<string, Map<string, Entry>>();
  readonly #subscribers = new Set<{ prefix: string; callback: (changedKeys: string[]) => void }>();
  readonly #waiters = new Set<Waiter>();
  #fail: (error: unknown) => void = () => undefined;
  #watch: MetaWatch | null = null;
  #detach: () => void = () => undefined;
  #revision = 0;
  #ended: VdbError | null = null;

  constructor(options: MetaCacheOptions) {
    this.#options = options;
    this.failed = new Promise<never>((_, reject) => {
      this.#fail = reject;
    });
    this.failed.catch(() => undefined);
  }

  attach(watch: MetaWatch, detach: () => void): void {
    this.#watch = watch;
    this.#detach = detach;
    watch.failed.catch((error: unknown) => {
      this.#end(new VdbError("unavailable", `the meta cache is stale: ${errorMessage(error)}`, { cause: error }));
      this.#fail(error);
    });
  }

  get revision(): number {
    return this.#revision;
  }

  get(key: string): unknown {
    return this.#kind(key).get(key)?.value;
  }

  revisionOf(key: string): number {
    return this.#kind(key).get(key)?.revision ?? 0;
  }

  *entries(prefix: string): IterableIterator<[string, unknown, number]> {
    for (const [key, entry] of this.#kind(prefix)) {
      if (key.startsWith(prefix)) yield [key, entry.value, entry.revision];
    }
  }

  async waitFor(revision: number, deadlineMonotonicMs: number): Promise<void> {
    if (this.#ended !== null) throw this.#ended;
    if (this.#revision >= revision) return;
    const { clock } = this.#options;
    await new Promise<void>((resolve, reject) => {
      const onTimeout = (): void => {
        this.#waiters.delete(waiter);
        const message = `meta is at revision ${this.#revision}, ${revision} was waited for until the deadline`;
        reject(new VdbError("deadline_exceeded", message));
      };
      const timer = clock.timer(Math.max(0, deadlineMonotonicMs - clock.monotonic()), onTimeout);
      const waiter: Waiter = { revision, resolve, reject, timer };
      this.#waiters.add(waiter);
    });
  }

  async sync(deadlineMonotonicMs: number): Promise<number> {
    const revision = await this.#options.meta.lastRevision();
    await this.waitFor(revision, deadlineMonotonicMs);
    return revision;
  }

  subscribe(prefix: string, callback: (changedKeys: string[]) => void): Disposable {
    const subscriber = { prefix, callback };
    this.#subscribers.add(subscriber);
    return { [Symbol.dispose]: () => this.#subscribers.delete(subscriber) };
  }

  async close(): Promise<void> {
    this.#end(new VdbError("canceled", "the meta cache was closed"));
    await this.#watch?.[Symbol.asyncDispose]();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** One commit (or, first, the state as of the start). */
  apply(changes: MetaChange[]): void {
    const changedKeys: string[] = [];
    for (const change of changes) {
      if (this.#isKept(change.key) && this.#applyOne(change)) changedKeys.push(change.key);
      this.#revision = Math.max(this.#revision, change.revision);
    }
    this.#releaseWaiters();
    if (changedKeys.length > 0) this.#notify(changedKeys);
  }

  #kind(key: string): Map<string, Entry> {
    const dot = key.indexOf(".");
    const name = dot < 0 ? key : key.slice(0, dot);
    let entries = this.#kinds.get(name);
    if (entries === undefined) {
      entries = new Map();
      this.#kinds.set(name, entries);
    }
    return entries;
  }

  #isKept(key: string): boolean {
    const { prefixes } = this.#options;
    return prefixes.some((prefix) => (prefix.endsWith(".") ? key.startsWith(prefix) : key === prefix));
  }

  /** Whether it made a difference. */
  #applyOne(change: MetaChange): boolean {
    const { key, value: bytes, revision } = change;
    if (bytes === null) return this.#kind(key).delete(key);
    try {
      this.#kind(key).set(key, { value: this.#options.decode(key, bytes), revision });
      return true;
    } catch (error) {
      const message = `the meta value of ${key} at revision ${revision} does not decode, the one before stays in use`;
      this.#options.onCorrupt(
        new VdbError("corrupt", `${message}: ${errorMessage(error)}`, { details: { key, revision }, cause: error }),
      );
      return false;
    }
  }

  #releaseWaiters(): void {
    for (const waiter of this.#waiters) {
      if (waiter.revision > this.#revision) continue;
      this.#waiters.delete(waiter);
      waiter.timer[Symbol.dispose]();
      waiter.resolve();
    }
  }

  #notify(changedKeys: string[]): void {
    for (const { prefix, callback } of this.#subscribers) {
      const matching = changedKeys.filter((key) => key.startsWith(prefix));
      if (matching.length > 0) callback(matching);
    }
  }

  #end(error: VdbError): void {
    this.#ended ??= error;
    this.#detach();
    for (const waiter of this.#waiters) {
      waiter.timer[Symbol.dispose]();
      waiter.reject(this.#ended);
    }
    this.#waiters.clear();
  }
}
