/**
 * The nodes that are alive. Each role of each node keeps a lease `<role>.<nodeId>`; when it is not renewed in time the
 * store removes it and every registry hears of it. A lease says that a node was there lately, never that it owns
 * something: ownership is proven by terms and epochs.
 *
 * If all n nodes followed all leases, renewals would make some n² messages a second. So only coordinators follow them;
 * the leader writes who is alive into the catalogue when that changes, and the others read it there.
 */
import { ROLES, type Role } from "./actor.ts";
import type { Catalog } from "./meta/catalog.ts";
import type { LeasePort, MetaChange, MetaWatch } from "./meta/port.ts";
import { decode } from "./protocol/codec.ts";
import { NodeLease } from "./protocol/node.ts";
import { REFUSED, readShape } from "./protocol/shape-reader.ts";

type Leases = Map<string, NodeLease>;

export class NodeRegistry {
  #leases: Leases = new Map();
  readonly #listeners = new Set<(role: Role) => void>();
  readonly #followers = new Set<(changes: readonly MetaChange[]) => void>();
  /** What each held key was last seen as, while the leases are followed. */
  #held = new Map<string, MetaChange>();
  #watch: MetaWatch | undefined;
  #members: Disposable | undefined;
  /** Of what is followed: what an earlier watch still brings is not heard. */
  #turn = 0;
  #fail = (_: unknown) => {};
  /** Rejects when it can no longer be told who is alive. */
  readonly failed: Promise<never> = new Promise((_, reject) => {
    this.#fail = reject;
  });

  constructor() {
    // Whoever starts one asks for it; one that was never started has nothing to tell.
    this.failed.catch(() => undefined);
  }

  /** Follows the leases themselves. Resolves when those held are known. @throws VdbError unavailable */
  async start(leases: LeasePort): Promise<void> {
    await this.#follow(leases);
  }

  /**
   * Follows the leader's list once this leader has written it and it names this node, so that it is as complete as what
   * this node knows by itself; until then, and again under a leader of a version that keeps no list, the leases.
   * @throws VdbError unavailable
   */
  async startAsMember(leases: LeasePort, catalog: Catalog, nodeId: string): Promise<void> {
    await this.#follow(leases);
    let isMember = false;
    const look = () => {
      const { epoch, keepsMembers: isKept = false } = catalog.epoch() ?? {};
      const { epoch: writtenIn, nodes: members } = catalog.members() ?? { nodes: [] };
      const isWritten = isKept && writtenIn === epoch;
      if (!isMember && isWritten && members.some((member) => member.nodeId === nodeId)) {
        isMember = true;
        this.#unfollow();
      } else if (isMember && !isKept) {
        isMember = false;
        this.#follow(leases).catch((error: unknown) => this.#fail(error));
      }
      if (isMember) this.#replace(new Map(members.map((member) => [`${member.role}.${member.nodeId}`, member])));
    };
    const watches = ["epoch", "members"].map((key) => catalog.cache.subscribe(key, look));
    this.#members = {
      [Symbol.dispose]: () => {
        for (const watch of watches) watch[Symbol.dispose]();
      },
    };
    look();
  }

  /** Live nodes of a role, draining ones too, in the order of their ids (the order in which they started). */
  ofRole(role: Role): NodeLease[] {
    return [...this.#leases.entries()]
      .filter(([key]) => key.startsWith(`${role}.`))
      .map(([, lease]) => lease)
      .sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1));
  }

  has(role: Role, nodeId: string): boolean {
    return this.#leases.has(`${role}.${nodeId}`);
  }

  all(): NodeLease[] {
    return [...this.#leases.values()];
  }

  /** Calls back when a node of a role appears, begins or stops draining, or is gone. */
  subscribe(listener: (role: Role) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) };
  }

  /**
   * Every change of the leases themselves, elections' too, beginning with those that are held: of a registry that follows
   * them (`start`).
   */
  followLeases(follower: (changes: readonly MetaChange[]) => void): Disposable {
    follower([...this.#held.values()]);
    this.#followers.add(follower);
    return { [Symbol.dispose]: () => this.#followers.delete(follower) };
  }

  async close(): Promise<void> {
    this.#turn++;
    this.#members?.[Symbol.dispose]();
    await this.#watch?.[Symbol.asyncDispose]();
  }

  /** What was known stays until all leases are. */
  async #follow(leases: LeasePort): Promise<void> {
    const turn = ++this.#turn;
    const known: Leases = new Map();
    const held = new Map<string, MetaChange>();
    this.#held = held;
    const watch = await leases.watch([""], (changes) => {
      if (held === this.#held) this.#hear(changes);
      const isCurrent = known === this.#leases;
      const changed = applyChanges(known, changes);
      if (isCurrent) this.#tell(changed);
    });
    if (turn !== this.#turn) return await watch[Symbol.asyncDispose]();
    this.#watch = watch;
    watch.failed.catch((error: unknown) => {
      if (turn === this.#turn) this.#fail(error);
    });
    try {
      await watch.ready;
    } catch (error) {
      // One that is closed before it is ready says so.
      if (turn === this.#turn) throw error;
    }
    if (turn === this.#turn) this.#replace(known);
  }

  #hear(changes: readonly MetaChange[]): void {
    for (const change of changes) {
      if (change.value === null) this.#held.delete(change.key);
      else this.#held.set(change.key, change);
    }
    for (const follower of this.#followers) follower(changes);
  }

  #unfollow(): void {
    this.#turn++;
    this.#held = new Map();
    const watch = this.#watch;
    this.#watch = undefined;
    Promise.resolve(watch?.[Symbol.asyncDispose]()).catch(() => undefined);
  }

  #replace(next: Leases): void {
    const before = this.#leases;
    this.#leases = next;
    const keys = [...before.keys(), ...next.keys()];
    this.#tell(keys.filter((key) => before.get(key)?.isDraining !== next.get(key)?.isDraining));
  }

  #tell(changed: readonly string[]): void {
    for (const role of new Set(changed.map(roleOf))) for (const listener of this.#listeners) listener(role);
  }
}

/** The keys that appeared, went, or began or ended draining. */
function applyChanges(leases: Leases, changes: readonly MetaChange[]): string[] {
  const changed: string[] = [];
  for (const { key, value } of changes) {
    // Those that elect are renewed as often as others, and say nothing here.
    if (roleOfLease(key) === undefined) continue;
    const lease = value === null ? undefined : readLease(value);
    const known = leases.get(key);
    if (lease === undefined) leases.delete(key);
    else leases.set(key, lease);
    if (known?.isDraining !== lease?.isDraining) changed.push(key);
  }
  return changed;
}

/** `leader.<...>` keys elect, they register nobody. */
function roleOf(key: string): Role {
  return key.split(".", 1)[0] as Role;
}

/** Whose lease a key is; undefined when it is no node's. */
export function nodeOfLease(key: string): string | undefined {
  return roleOfLease(key) === undefined ? undefined : key.split(".", 2)[1];
}

/** What role's lease a key is; undefined when it is no node's. */
export function roleOfLease(key: string): Role | undefined {
  const role = key.split(".", 1)[0];
  return ROLES.find((known) => known === role);
}

/** Undefined for one of a version that we cannot read. */
function readLease(value: Uint8Array): NodeLease | undefined {
  try {
    const stored = decode(value);
    const lease = readShape(NodeLease, stored);
    return lease === REFUSED ? NodeLease.safeParse(stored).data : (lease as NodeLease);
  } catch {
    return undefined;
  }
}
