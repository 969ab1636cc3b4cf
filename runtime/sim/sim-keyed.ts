/**
 * A store of keys with revisions at the simulated server: compare-and-set commits, atomic batches with guards, watches.
 * Meta and leases are each one of these.
 */

import type { Clock } from "../clock.ts";
import { VdbError } from "../errors.ts";
import type { MetaChange, MetaEntry, MetaOp, MetaWatch } from "../meta/port.ts";
import { backoffMs } from "../meta/stream-calls.ts";
import { type Feed, follow, newFeed } from "./follow.ts";
import { type Answered, type Link, request, type ServerState } from "./link.ts";

/** As the adapters on NATS. */
const REQUEST_TIMEOUT_MS = 2_000;
const READ_TIMEOUT_MS = 5_000;
const COMMIT_TIMEOUT_MS = 12_000;

/** Written by every batch. */
const BATCH_MARKER = "txn";

interface Stored {
  value: Uint8Array | null;
  revision: number;
}

export interface Commit {
  /** Writes, with the revisions that they got; markers included. */
  changes: MetaChange[];
  ops: readonly MetaOp[];
  /** Name of the process. */
  by: string;
}

/** The part at the server. */
export class KeyedStore {
  readonly name: string;
  readonly feed: Feed<MetaChange[]>;
  /** Every commit so far. */
  readonly commits: Commit[] = [];
  #entries = new Map<string, Stored>();
  /** What a leader that was cut off still has. */
  #past: { entries: ReadonlyMap<string, Stored>; revision: number } | undefined;
  readonly #applied = new Map<string, number>();
  #revision = 0;
  /** What the invariants are checked by: called with each commit as it is stored. */
  onCommit: ((commit: Commit) => void) | undefined;
  /** Planted bugs: expectations of some keys are not looked at; values are stored otherwise. */
  ignoresExpectationOf: ((op: MetaOp) => boolean) | undefined;
  rewrite: ((key: string, value: Uint8Array) => Uint8Array) | undefined;

  constructor(name: string) {
    this.name = name;
    this.feed = newFeed(name, (after) => {
      const items: MetaChange[][] = [];
      // Commits are found by the revision of their last change, from the end: watchers are seldom far behind.
      let i = this.commits.length;
      while (i > 0 && this.commits[i - 1]!.changes.at(-1)!.revision > after) i--;
      for (; i < this.commits.length; i++) items.push(this.commits[i]!.changes);
      return { items, position: this.#revision };
    });
  }

  get revision(): number {
    return this.#revision;
  }

  /** Keeps the present state as the past one, until there is one present again. */
  splitOff(): void {
    this.#past = { entries: new Map(this.#entries), revision: this.#revision };
  }

  revisionAt(isPast: boolean): number {
    return isPast ? this.#past!.revision : this.#revision;
  }

  /** Null for an absent key. */
  get(key: string, isPast = false): MetaEntry | null {
    const stored = (isPast ? this.#past!.entries : this.#entries).get(key);
    if (stored === undefined || stored.value === null) return null;
    return { key, value: stored.value, revision: stored.revision };
  }

  /** The newest change of every key, in the order of revisions. */
  snapshot(isPast = false): MetaChange[] {
    const entries = isPast ? this.#past!.entries : this.#entries;
    const changes = [...entries].map(([key, { value, revision }]) => ({ key, value, revision }));
    return changes.sort((a, b) => a.revision - b.revision);
  }

  /** All of ops or none, once for each id. Returns the revision of the last write; null when an expectation fails. */
  commit(id: string, ops: readonly MetaOp[], by: string): number | null {
    const known = this.#applied.get(id);
    if (known !== undefined) return known;
    if (!ops.every((op) => this.#holds(op))) return null;
    const changes: MetaChange[] = [];
    for (const op of ops) {
      if (op.op === "guard") continue;
      changes.push({ key: op.key, value: this.#valueOf(op), revision: ++this.#revision });
    }
    const last = this.#revision;
    const guards = ops.length - changes.length;
    if (ops.length > 1) {
      for (let i = Math.max(1, guards) - 1; i >= 0; i--) {
        const key = i === 0 ? BATCH_MARKER : `${BATCH_MARKER}.${i}`;
        changes.push({ key, value: new Uint8Array(0), revision: ++this.#revision });
      }
    }
    this.#applied.set(id, last);
    this.#put({ changes, ops, by });
    return last;
  }

  /** Ends a key, by the server itself. */
  expire(key: string): void {
    this.#put({ changes: [{ key, value: null, revision: ++this.#revision }], ops: [], by: "server" });
  }

  #put(commit: Commit): void {
    for (const { key, value, revision } of commit.changes) this.#entries.set(key, { value, revision });
    this.commits.push(commit);
    this.onCommit?.(commit);
    for (const grown of [...this.feed.growth]) grown();
  }

  #valueOf(op: MetaOp): Uint8Array | null {
    if (op.op !== "put") return null;
    return this.rewrite === undefined ? op.value : this.rewrite(op.key, op.value);
  }

  #holds(op: MetaOp): boolean {
    if (this.ignoresExpectationOf?.(op) === true) return true;
    const stored = this.#entries.get(op.key);
    const isLive = stored !== undefined && stored.value !== null;
    if (op.revision === 0) return !isLive;
    // A tombstone's own revision counts too: whoever expects it knows of it.
    return stored?.revision === op.revision;
  }
}

/** The part in a process: requests that go unanswered are settled, as far as time allows. */
export class KeyedClient {
  readonly #store: KeyedStore;
  readonly #server: ServerState;
  readonly #link: Link;
  readonly #clock: Clock;
  #commits = 0;

  constructor(store: KeyedStore, server: ServerState, link: Link, clock: Clock) {
    this.#store = store;
    this.#server = server;
    this.#link = link;
    this.#clock = clock;
  }

  get(key: string): Promise<MetaEntry | null> {
    return this.#read(`${this.#store.name} get`, (isPast) => this.#store.get(key, isPast));
  }

  lastRevision(): Promise<number> {
    return this.#read(`${this.#store.name} revision`, (isPast) => this.#store.revisionAt(isPast));
  }

  /** @param onStored runs at the server when the commit is in, with the revision */
  async commit(ops: readonly MetaOp[], onStored: (revision: number) => void = () => undefined): Promise<number | null> {
    requireSound(ops);
    const { process } = this.#link;
    const id = `${process.name}-${++this.#commits}`;
    const label = `${this.#store.name} commit ${ops[0]!.key}`;
    const deadline = this.#clock.monotonic() + COMMIT_TIMEOUT_MS * this.#server.settings.haste;
    let mayHaveLanded = false;
    for (let tries = 0; ; tries++) {
      const answer = await this.#ask(label, true, () => {
        const before = this.#store.revision;
        const revision = this.#store.commit(id, ops, process.name);
        if (revision !== null && this.#store.revision > before) onStored(revision);
        return revision;
      });
      if (answer !== null && (answer.value !== null || !mayHaveLanded)) return answer.value;
      if (answer !== null) {
        // An expectation is stale after an attempt of unknown outcome. That one may be on its way still, but cannot land.
        // Later changes push out of the store what tells whether it was ours: seldom, and then nobody knows.
        if (process.seeded.chance(0.1)) throw this.#unavailable("its outcome is unknown");
        return null;
      }
      mayHaveLanded = true;
      if (this.#clock.monotonic() >= deadline) throw this.#unavailable("its outcome is unknown");
      await this.#pause(tries);
    }
  }

  /** "" for all keys; `a.` for those that begin so; `a` for one key. */
  async watch(prefixes: string[], handler: (changes: MetaChange[]) => void): Promise<MetaWatch> {
    const covers = (key: string) =>
      prefixes.some((prefix) => prefix === "" || prefix === key || (prefix.endsWith(".") && key.startsWith(prefix)));
    const wants = (changes: MetaChange[]) => changes.some(({ key }) => covers(key));
    const deliver = (changes: MetaChange[]) => {
      const wanted = changes.filter(({ key }) => covers(key));
      if (wanted.length > 0) handler(wanted);
    };
    const { name } = this.#store;
    const start = await this.#ask(`${name} snapshot`, false, (isPast) => ({
      snapshot: this.#store.snapshot(isPast),
      revision: this.#store.revisionAt(isPast),
    }));
    if (start === null) throw new VdbError("unavailable", `cannot watch ${name} now`);
    deliver(start.value.snapshot);
    const follower = follow(this.#link, this.#server, this.#store.feed, start.value.revision, wants, deliver, {
      catchUp: newestOfEach,
    });
    return {
      ready: Promise.resolve(),
      failed: follower.failed,
      async [Symbol.asyncDispose]() {
        await follower.stop();
      },
    };
  }

  async #read<T>(label: string, read: (isPast: boolean) => T): Promise<T> {
    const deadline = this.#clock.monotonic() + READ_TIMEOUT_MS * this.#server.settings.haste;
    for (let tries = 0; ; tries++) {
      const answer = await this.#ask(label, false, read);
      if (answer !== null) return answer.value;
      if (this.#clock.monotonic() >= deadline) throw new VdbError("unavailable", `${label}: no answer`);
      await this.#pause(tries);
    }
  }

  #ask<T>(label: string, isWrite: boolean, act: (isPast: boolean) => T): Promise<Answered<T> | null> {
    const options = { label, store: this.#store.name, timeoutMs: REQUEST_TIMEOUT_MS, isWrite };
    return request(this.#link, this.#server, options, act);
  }

  #pause(tries: number): Promise<void> {
    return this.#clock.sleep(backoffMs(tries, this.#link.process.seeded));
  }

  #unavailable(fate: string): VdbError {
    return new VdbError("unavailable", `a commit to ${this.#store.name} found no answer: ${fate}`);
  }
}

/** What a watch missed comes as one call, without what was overwritten meanwhile. */
function newestOfEach(missed: MetaChange[][]): MetaChange[][] {
  if (missed.length < 2) return missed;
  const newest = new Map(missed.flat().map((change) => [change.key, change]));
  return [[...newest.values()].sort((a, b) => a.revision - b.revision)];
}

function requireSound(ops: readonly MetaOp[]): void {
  const keys = new Set(ops.map(({ key }) => key));
  if (keys.size < ops.length) throw new Error("a commit names a key twice");
  if (ops.every(({ op }) => op === "guard")) throw new Error("a commit must write something");
}
