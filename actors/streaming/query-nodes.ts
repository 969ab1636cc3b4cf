/**
 * What a delegator knows of the query nodes, from its own asks alone: how much it is waiting for from each, how fast
 * each answers, and which failed lately. Costs a few additions an ask, however many rows are read.
 */

import type { Clock } from "../../runtime/clock.ts";
import { append } from "../../runtime/lists.ts";
import type { NodeRegistry } from "../../runtime/node-registry.ts";

/** A node that failed is asked again after this long, by one ask at a time until it has answered. */
const AVOID_MS = 1_000;

/** Weight of the newest answer in a node's mean time. */
const NEWEST = 0.1;

export interface KnownNode {
  readonly nodeId: string;
  /** Segments in asks that are under way. */
  outstanding: number;
  /** Moving mean of milliseconds a segment. */
  msPerSegment: number;
  /** Monotonic time of its newest answer, errors included. */
  answeredAt: number;
  /** Until when it is avoided; 0: it has not failed since it answered last. */
  avoidUntil: number;
}

export class QueryNodes {
  readonly #nodes: NodeRegistry;
  readonly #clock: Clock;
  readonly #known = new Map<string, KnownNode>();

  constructor(nodes: NodeRegistry, clock: Clock) {
    this.#nodes = nodes;
    this.#clock = clock;
  }

  get(nodeId: string): KnownNode {
    let node = this.#known.get(nodeId);
    if (node === undefined) {
      this.#forgetGone();
      node = { nodeId, outstanding: 0, msPerSegment: 0, answeredAt: Number.NEGATIVE_INFINITY, avoidUntil: 0 };
      this.#known.set(nodeId, node);
    }
    return node;
  }

  answered(node: KnownNode, segments: number, ms: number): void {
    node.answeredAt = this.#clock.monotonic();
    node.avoidUntil = 0;
    node.msPerSegment += NEWEST * (ms / segments - node.msPerSegment);
  }

  failed(node: KnownNode): void {
    node.avoidUntil = this.#clock.monotonic() + AVOID_MS;
  }

  /** Whether it failed lately, or failed before and the ask that tries it again is under way. */
  isAvoided(node: KnownNode): boolean {
    if (node.avoidUntil === 0) return false;
    return node.outstanding > 0 || this.#clock.monotonic() < node.avoidUntil;
  }

  /**
   * Shares segments out among nodes: each goes to the replica from which the least is awaited, this read's own asks
   * included; among equals, to the faster one. Nodes to avoid are used where there is no other. `nowhere`: segments
   * without a live replica.
   */
  assign(
    segmentIds: readonly string[],
    replicasOf: (segmentId: string) => readonly string[],
    tried: ReadonlySet<string>,
  ): { byNode: Map<KnownNode, string[]>; nowhere: string[] } {
    const byNode = new Map<KnownNode, string[]>();
    const nowhere: string[] = [];
    const usable = new Map<string, KnownNode | null>();
    for (const segmentId of segmentIds) {
      let best: KnownNode | undefined;
      let bestAvoided = true;
      let bestWaits = 0;
      for (const nodeId of replicasOf(segmentId)) {
        let node = usable.get(nodeId);
        if (node === undefined) {
          node = !tried.has(nodeId) && this.#nodes.has("query", nodeId) ? this.get(nodeId) : null;
          usable.set(nodeId, node);
        }
        if (node === null) continue;
        const isAvoided = this.isAvoided(node);
        const waits = node.outstanding + (byNode.get(node)?.length ?? 0);
        const isBetter =
          best === undefined ||
          (isAvoided !== bestAvoided
            ? bestAvoided
            : waits < bestWaits || (waits === bestWaits && node.msPerSegment < best.msPerSegment));
        if (!isBetter) continue;
        best = node;
        bestAvoided = isAvoided;
        bestWaits = waits;
      }
      if (best === undefined) {
        nowhere.push(segmentId);
        continue;
      }
      append(byNode, best, segmentId);
    }
    return { byNode, nowhere };
  }

  /** Whether each segment has a replica, not tried yet and not to be avoided. */
  hasOthers(
    segmentIds: readonly string[],
    replicasOf: (segmentId: string) => readonly string[],
    tried: ReadonlySet<string>,
  ): boolean {
    const isGood = (nodeId: string) =>
      !tried.has(nodeId) && this.#nodes.has("query", nodeId) && !this.isAvoided(this.get(nodeId));
    return segmentIds.every((segmentId) => replicasOf(segmentId).some(isGood));
  }

  #forgetGone(): void {
    for (const [nodeId, { outstanding }] of this.#known) {
      if (outstanding === 0 && !this.#nodes.has("query", nodeId)) this.#known.delete(nodeId);
    }
  }
}
