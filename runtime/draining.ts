/**
 * Draining: a node that is to leave serves what it has and gets nothing new, while others take over what it owns. It
 * says so in its leases, and the coordinator moves its channels and segments away. It can be called off.
 */
import type { Role } from "./actor.ts";
import type { Clock } from "./clock.ts";
import type { Catalog } from "./meta/catalog.ts";
import type { NodeRegistry } from "./node-registry.ts";

/** How often things are checked that no event announces: the end of a job or a request. */
const LOOK_MS = 250;

export class Draining {
  #isDraining = false;
  readonly #listeners = new Set<() => void>();

  get isDraining(): boolean {
    return this.#isDraining;
  }

  set(isDraining: boolean): void {
    if (this.#isDraining === isDraining) return;
    this.#isDraining = isDraining;
    for (const listener of this.#listeners) listener();
  }

  /** Calls back when draining begins or is called off. */
  subscribe(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) };
  }
}

/** What a node has that others would have to take over, or that must end before it can leave without a trace. */
export interface Owned {
  /** 1 while it leads. */
  leads: number;
  channels: number;
  /** Sealed segments that query views name on it. */
  segments: number;
  jobs: number;
  /** Public requests that it is answering. */
  requests: number;
}

const ROLE_OF: Record<keyof Owned, Role> = {
  leads: "coordinator",
  channels: "streaming",
  segments: "query",
  jobs: "data",
  requests: "proxy",
};

/** observed: what the node's actors say of themselves, by role. */
export function ownedBy(nodeId: string, catalog: Catalog, observed: Record<string, Record<string, unknown>>): Owned {
  let channels = 0;
  for (let pchannel = 0; pchannel < (catalog.cluster()?.walChannels ?? 0); pchannel++) {
    if (catalog.channelOwner(pchannel)?.nodeId === nodeId) channels++;
  }
  let segments = 0;
  for (const collection of catalog.collections()) {
    for (const { vchannel } of collection.shards) {
      for (const nodeIds of Object.values(catalog.view(vchannel)?.segments ?? {})) {
        if (nodeIds.includes(nodeId)) segments++;
      }
    }
  }
  return {
    leads: observed.coordinator?.isLeading === true ? 1 : 0,
    channels,
    segments,
    jobs: Number(observed.data?.runningJobs ?? 0),
    requests: Number(observed.proxy?.requests ?? 0),
  };
}

/** Whether another node of the role lives and stays. */
export function hasSuccessor(nodeId: string, role: Role, nodes: NodeRegistry): boolean {
  return nodes.ofRole(role).some((node) => node.nodeId !== nodeId && !node.isDraining);
}

/**
 * Resolves when the node owns nothing any more that somebody could take over (only a leader moves anything, and only to
 * live nodes that stay), or at the deadline. @param owned what it owns now
 */
export async function untilMoved(options: {
  nodeId: string;
  owned: () => Owned;
  catalog: Catalog;
  nodes: NodeRegistry;
  clock: Clock;
  /** clock.monotonic() milliseconds. */
  deadline: number;
}): Promise<void> {
  const { nodeId, catalog, nodes, clock, deadline } = options;
  const canMove = (kind: keyof Owned) =>
    // Jobs and requests end here.
    kind === "jobs" ||
    kind === "requests" ||
    (nodes.ofRole("coordinator").length > 0 && hasSuccessor(nodeId, ROLE_OF[kind], nodes));
  let wake = new AbortController();
  using _nodes = nodes.subscribe(() => wake.abort());
  using _catalog = catalog.cache.subscribe("", () => wake.abort());
  for (;;) {
    wake = new AbortController();
    const owned = options.owned();
    if (!(Object.keys(ROLE_OF) as (keyof Owned)[]).some((kind) => owned[kind] > 0 && canMove(kind))) return;
    const leftMs = deadline - clock.monotonic();
    if (leftMs <= 0) return;
    await clock.sleep(Math.min(LOOK_MS, leftMs), wake.signal).catch(() => undefined);
  }
}
