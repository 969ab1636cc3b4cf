/**
 * The meta store as the rest of the system sees it: keys with revisions, changed only by create or compare-and-set,
 * alone or in an atomic batch. Values are bytes; `values.ts` says what each key holds.
 */

export interface MetaEntry {
  key: string;
  value: Uint8Array;
  /** Sequence of the change that wrote it: grows over the whole store. */
  revision: number;
}

export type MetaOp =
  /** revision 0: must not exist. */
  | { op: "put"; key: string; value: Uint8Array; revision: number }
  | { op: "delete"; key: string; revision: number }
  /** Guards the batch by a key that it does not write: this fences out a deposed coordinator. */
  | { op: "guard"; key: string; revision: number };

export interface MetaPort {
  /** Read from the leader. @throws VdbError unavailable */
  get(key: string): Promise<MetaEntry | null>;
  /**
   * All of ops, or none. Returns the revision of the last one; null when an expectation does not hold.
   * An unknown outcome (timeout, lost leader) is settled before it returns, or thrown as `unavailable`.
   */
  commit(ops: MetaOp[]): Promise<number | null>;
  /**
   * Every current entry under the prefixes, then every change, in order of revision; a batch arrives as one call.
   * Deleted keys arrive with value null. `ready` resolves when the state as of the start has been delivered.
   */
  watch(prefixes: string[], handler: (changes: MetaChange[]) => void): Promise<MetaWatch>;
  /** Revision of the newest change of the whole store, from the leader. */
  lastRevision(): Promise<number>;
}

export interface MetaChange {
  key: string;
  value: Uint8Array | null;
  revision: number;
}

export interface MetaWatch extends AsyncDisposable {
  readonly ready: Promise<void>;
  /** Rejects when the watch ends by itself (connection closed, store gone): what follows it is stale from then on. */
  readonly failed: Promise<never>;
}

/**
 * Leases: keys that vanish unless renewed. A separate store, because its entries expire by the server's clock.
 */
export interface LeasePort {
  /** Creates the key, or takes the place of an expired one. Null when somebody holds it. Returns the revision: a fencing token that only grows. */
  acquire(key: string, value: Uint8Array, ttlSeconds: number): Promise<number | null>;
  /**
   * Renews, with a new value, the lease that the revision proves to be ours. Null when it is no longer ours. @throws VdbError
   * unavailable when unknown
   */
  renew(key: string, value: Uint8Array, ttlSeconds: number, revision: number): Promise<number | null>;
  /** Gives the key back at once. False when it was not ours any more. */
  release(key: string, revision: number): Promise<boolean>;
  get(key: string): Promise<MetaEntry | null>;
  /** As MetaPort.watch; an expired key arrives with value null. */
  watch(prefixes: string[], handler: (changes: MetaChange[]) => void): Promise<MetaWatch>;
  /** Has the store notice when this node's connection to it is gone. Disposing of it looks like that too. */
  showPresence(nodeId: string): Disposable;
  /**
   * Calls back with a node that showed its presence and has not been connected for a while, about a second. A hint: it may be
   * back, and some deaths are not reported.
   */
  watchPresence(onGone: (nodeId: string) => void): Disposable;
}
