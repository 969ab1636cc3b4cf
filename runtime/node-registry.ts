/**
 * The nodes that are alive. Each role of each node keeps a lease `<role>.<nodeId>`; when it is not renewed in time the
 * store removes it and every registry hears of it. A lease says that a node was there lately, never that it owns
 * something: ownership is proven by terms and epochs.
 */
import { z } from "zod";
import { ROLES, type Role } from "./actor.ts";
import type { LeasePort, MetaWatch } from "./meta/port.ts";
import { decode } from "./protocol/codec.ts";

export const NodeLease = z.object({
  nodeId: z.string(),
  role: z.string(),
  host: z.string(),
  pid: z.number(),
  version: z.string(),
  startedAt: z.number(),
  /** It serves what it has and gets nothing new: what it owns is being moved away. */
  isDraining: z.boolean().default(false),
  /** What the actor observes of itself: load, channels, segments. */
  state: z.record(z.string(), z.unknown()),
});
export type NodeLease = z.infer<typeof NodeLease>;

export class NodeRegistry {
  readonly #leases = new Map<string, NodeLease>();
  readonly #listeners = new Set<(role: Role) => void>();
  #watch: MetaWatch | undefined;

  async start(leases: LeasePort): Promise<void> {
    this.#watch = await leases.watch([""], (changes) => {
      const roles = new Set<Role>();
      for (const { key, value } of changes) {
        // `leader.<...>` keys elect, they register nobody.
        const role = key.split(".", 1)[0] as Role;
        const lease = value === null ? undefined : readLease(value);
        const known = this.#leases.get(key);
        if (lease === undefined) this.#leases.delete(key);
        else this.#leases.set(key, lease);
        if (known?.isDraining !== lease?.isDraining) roles.add(role);
      }
      for (const role of roles) for (const listener of this.#listeners) listener(role);
    });
    await this.#watch.ready;
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

  /** Rejects when the leases can no longer be followed: the node cannot tell who is alive. */
  get failed(): Promise<never> {
    if (this.#watch === undefined) throw new Error("the registry was not started");
    return this.#watch.failed;
  }

  async close(): Promise<void> {
    await this.#watch?.[Symbol.asyncDispose]();
  }
}

/** Whose lease a key is; undefined when it is no node's. */
export function nodeOfLease(key: string): string | undefined {
  const [role, nodeId] = key.split(".", 2);
  return ROLES.some((known) => known === role) ? nodeId : undefined;
}

/** Undefined for what is no lease of a node: election keys, or a version that we cannot read. */
function readLease(value: Uint8Array): NodeLease | undefined {
  try {
    return NodeLease.safeParse(decode(value)).data;
  } catch {
    return undefined;
  }
}
