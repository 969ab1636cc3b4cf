/** Leases of a simulated cluster: keys that the server ends by its own clock. */
import type { Clock } from "../clock.ts";
import type { LeasePort } from "../meta/port.ts";
import type { Link, ServerState } from "./link.ts";
import { KeyedClient, KeyedStore } from "./sim-keyed.ts";

/** The server looks at expired keys now and then. */
const LATE_MS_MAX = 80;

export class LeaseStore extends KeyedStore {
  readonly #server: ServerState;
  readonly #ends = new Map<string, Disposable>();

  constructor(server: ServerState) {
    super("lease");
    this.#server = server;
  }

  /** Has a key end after its time to live, unless it is renewed before. */
  endLater(key: string, ttlSeconds: number): void {
    // Renewals come at times of the product's own, so leases can hasten less than other things.
    const { seeded, settings } = this.#server;
    const ms = ttlSeconds * 1000 * (0.5 + settings.haste / 2) + seeded.next() * LATE_MS_MAX;
    this.#ends.get(key)?.[Symbol.dispose]();
    this.#ends.set(
      key,
      this.#server.scheduler.after(ms, null, `lease ${key} ends`, () => this.end(key)),
    );
  }

  /** What was to end the key later does not: another lease may have it by then. */
  keep(key: string): void {
    this.#ends.get(key)?.[Symbol.dispose]();
    this.#ends.delete(key);
  }

  /** Ends a lease now. A server that is down ends it when it is back. */
  end(key: string): void {
    if (!this.#server.isUp) {
      this.endLater(key, 0.1);
      return;
    }
    this.keep(key);
    if (this.get(key) !== null) this.expire(key);
  }

  /** Keys that are held. */
  held(): string[] {
    return this.snapshot().flatMap(({ key, value }) => (value === null ? [] : [key]));
  }
}

export function createSimLeases(store: LeaseStore, server: ServerState, link: Link, clock: Clock): LeasePort {
  const client = new KeyedClient(store, server, link, clock);
  const put = (key: string, value: Uint8Array, ttlSeconds: number, revision: number) => {
    if (!Number.isInteger(ttlSeconds) || ttlSeconds < 1) {
      throw new Error(`a lease lasts a whole number of seconds, 1 or more, got ${ttlSeconds}`);
    }
    return client.commit([{ op: "put", key, value, revision }], () => store.endLater(key, ttlSeconds));
  };
  return {
    acquire: async (key, value, ttlSeconds) => put(key, value, ttlSeconds, 0),
    renew: async (key, value, ttlSeconds, revision) => put(key, value, ttlSeconds, revision),
    release: async (key, revision) =>
      (await client.commit([{ op: "delete", key, revision }], () => store.keep(key))) !== null,
    get: (key) => client.get(key),
    watch: (prefixes, handler) => client.watch(prefixes, handler),
    // Nobody is ever told: leases have to do.
    showPresence: () => ({ [Symbol.dispose]: () => undefined }),
    watchPresence: () => ({ [Symbol.dispose]: () => undefined }),
  };
}
