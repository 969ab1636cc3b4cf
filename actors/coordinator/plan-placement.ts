/**
 * Decides where copies of segments go: pure, and the same for the same input. place-segments.ts carries it out.
 *
 * A segment has as many copies as its collection has replicas, on different nodes, each in the resource group of its
 * replica. A copy goes to the node with the fewest bytes: among those whose memory has room for it, or, where there is
 * none, among those that read from disk what does not fit into memory. Copies move from full nodes to empty ones only
 * while each move makes the nodes clearly more even, so moving ends. None moves from memory to a disk.
 */
import { groupBy } from "../../runtime/lists.ts";

/** Nodes of a group may differ by this part of their mean before anything moves. */
const SLACK = 0.2;

/** A segment moves only when it is at most this part of the difference: two nodes never swap their places. */
const MOVE_MAX = 0.75;

/** Of the fullest and the emptiest nodes so many are looked at for a move. */
const LOOKED_AT = 8;

export interface PlanNode {
  readonly nodeId: string;
  readonly group: string;
  /** It serves what it has, gets nothing new, and is emptied. */
  readonly isDraining: boolean;
  /** Its memory budget. */
  readonly limitBytes: number;
  /** Segments that it serves in all when it reads from its disk what memory has no room for, which is slower; 0: none. */
  readonly mappedLimitBytes: number;
  /** What it says it uses, a little late. */
  readonly usedBytes: number;
  /** Of everything that is on it or coming to it; grows as copies are planned. */
  plannedBytes: number;
}

export interface PlanSegment {
  readonly segmentId: string;
  readonly bytes: number;
  /** Live nodes that can serve it now. */
  readonly ready: readonly string[];
  /** Nodes that are loading it. */
  readonly loading: readonly string[];
  /** Nodes that failed to load it a moment ago. */
  readonly resting: readonly string[];
}

export interface CopyPlan {
  /** Nodes that the next view names for it; none: nobody has it yet. */
  serve: string[];
  /** Nodes that are to load it. */
  load: string[];
  /** Whether there are as many copies as there should be. Of a group where there are not, `serve` leaves none out. */
  isComplete: boolean;
  /** The resource group in which no node has room for a copy that is missing. */
  noRoomIn: string | null;
}

export interface Move {
  readonly segmentId: string;
  readonly from: string;
  readonly to: string;
}

export class PlanNodes {
  readonly #byId = new Map<string, PlanNode>();
  readonly #takers: ReadonlyMap<string, PlanNode[]>;

  constructor(nodes: readonly PlanNode[]) {
    for (const node of nodes) this.#byId.set(node.nodeId, node);
    this.#takers = groupBy(
      nodes.filter(({ isDraining }) => !isDraining),
      ({ group }) => group,
    );
  }

  get(nodeId: string): PlanNode | undefined {
    return this.#byId.get(nodeId);
  }

  /** What is on a node, or coming to it; nothing where there is no such node. */
  addBytes(nodeId: string, bytes: number): void {
    const node = this.#byId.get(nodeId);
    if (node !== undefined) node.plannedBytes += bytes;
  }

  get groups(): Iterable<string> {
    return this.#takers.keys();
  }

  /** Nodes of a group that may get something new. */
  takers(group: string): readonly PlanNode[] {
    return this.#takers.get(group) ?? [];
  }
}

/**
 * Copies of one segment.
 * @param wanted replicas by resource group @param leaving a node that its copy is moving away from
 */
export function planCopies(
  segment: PlanSegment,
  wanted: ReadonlyMap<string, number>,
  nodes: PlanNodes,
  leaving?: string,
): CopyPlan {
  const { bytes, ready, loading, resting } = segment;
  const plan: CopyPlan = { serve: [], load: [], isComplete: true, noRoomIn: null };
  const complete = new Set<string>();
  let missingCopies = 0;
  for (const [group, count] of wanted) {
    const takers = nodes.takers(group);
    if (takers.length === 0) plan.noRoomIn ??= group;
    const counts = (nodeId: string) => nodeId !== leaving && isTaker(nodes, nodeId, group);
    const target = Math.min(count, takers.length);
    const kept = fewest(ready.filter(counts), target, nodes);
    plan.serve.push(...kept);
    // Without a node that could take over, whoever has the segment goes on serving it, even a node that is to leave.
    if (kept.length >= Math.min(count, Math.max(1, takers.length))) complete.add(group);
    else missingCopies += count - kept.length;
    for (let missing = target - kept.length - loading.filter(counts).length; missing > 0; missing--) {
      const taken = (nodeId: string) =>
        ready.includes(nodeId) || loading.includes(nodeId) || resting.includes(nodeId) || plan.load.includes(nodeId);
      const node = emptiest(takers, bytes, taken);
      if (node === undefined) {
        // Those that failed to load it a moment ago say themselves why.
        if (!takers.every(({ nodeId }) => taken(nodeId))) plan.noRoomIn ??= group;
        break;
      }
      node.plannedBytes += bytes;
      plan.load.push(node.nodeId);
    }
  }
  plan.isComplete = complete.size === wanted.size;
  if (!plan.isComplete) {
    // What is in no group that is served fully may be what is left of one that is not; and of a group that has more than
    // it should, as many go on as others lack: a replica that changes its group is served where it was until it is there.
    const mayGo = (nodeId: string) => complete.has(nodes.get(nodeId)?.group ?? "");
    plan.serve = ready.filter((nodeId) => {
      if (plan.serve.includes(nodeId) || !mayGo(nodeId)) return true;
      return nodeId !== leaving && nodes.get(nodeId)?.isDraining === false && missingCopies-- > 0;
    });
  }
  return plan;
}

/** Whether a group has as many copies as its nodes allow: only then one of them may move. */
export function hasCopies(segment: PlanSegment, group: string, count: number, nodes: PlanNodes): boolean {
  const copies = segment.ready.filter((nodeId) => isTaker(nodes, nodeId, group)).length;
  return copies >= Math.min(count, nodes.takers(group).length);
}

/** Whether nodes differ enough that looking for moves is worth it. */
export function isUneven(takers: readonly PlanNode[]): boolean {
  if (takers.length < 2) return false;
  let least = Number.POSITIVE_INFINITY;
  let most = 0;
  let sum = 0;
  for (const { plannedBytes } of takers) {
    least = Math.min(least, plannedBytes);
    most = Math.max(most, plannedBytes);
    sum += plannedBytes;
  }
  return most - least > (SLACK * sum) / takers.length;
}

/**
 * Moves that even out the nodes of one group, the most useful first. Each lessens the sum of the squares of the nodes'
 * bytes, so that repeating this ends.
 * @param held by node: the segments that have all their copies and may move
 */
export function planMoves(
  takers: readonly PlanNode[],
  held: ReadonlyMap<string, readonly PlanSegment[]>,
  movesMax: number,
): Move[] {
  const moves: Move[] = [];
  const moved = new Set<string>();
  while (moves.length < movesMax && isUneven(takers)) {
    const move = bestMove(takers, held, moved);
    if (move === undefined) break;
    const { segment, from, to } = move;
    moved.add(segment.segmentId);
    from.plannedBytes -= segment.bytes;
    to.plannedBytes += segment.bytes;
    moves.push({ segmentId: segment.segmentId, from: from.nodeId, to: to.nodeId });
  }
  return moves;
}

function bestMove(
  takers: readonly PlanNode[],
  held: ReadonlyMap<string, readonly PlanSegment[]>,
  moved: ReadonlySet<string>,
): { segment: PlanSegment; from: PlanNode; to: PlanNode } | undefined {
  const sorted = [...takers].sort(byBytes);
  const slack = (SLACK * sorted.reduce((sum, { plannedBytes }) => sum + plannedBytes, 0)) / sorted.length;
  for (const from of sorted.slice(-LOOKED_AT).reverse()) {
    for (const to of sorted.slice(0, LOOKED_AT)) {
      const gap = from.plannedBytes - to.plannedBytes;
      if (gap <= slack) break;
      const segment = nearestHalf(held.get(from.nodeId) ?? [], gap, (candidate) => {
        const { segmentId, bytes, ready, loading, resting } = candidate;
        const isThere = [ready, loading, resting].some((nodeIds) => nodeIds.includes(to.nodeId));
        return (
          !isThere && !moved.has(segmentId) && (hasMemory(to, bytes) || (!hasMemory(from, 0) && hasRoom(to, bytes)))
        );
      });
      if (segment !== undefined) return { segment, from, to };
    }
  }
  return undefined;
}

/** The segment that leaves the two nodes most even; of equals the one that came first. */
function nearestHalf(
  segments: readonly PlanSegment[],
  gap: number,
  isAllowed: (segment: PlanSegment) => boolean,
): PlanSegment | undefined {
  let best: PlanSegment | undefined;
  for (const segment of segments) {
    if (segment.bytes <= 0 || segment.bytes > gap * MOVE_MAX || !isAllowed(segment)) continue;
    if (best === undefined || Math.abs(segment.bytes - gap / 2) < Math.abs(best.bytes - gap / 2)) best = segment;
  }
  return best;
}

function isTaker(nodes: PlanNodes, nodeId: string, group: string): boolean {
  const node = nodes.get(nodeId);
  return node !== undefined && !node.isDraining && node.group === group;
}

/** At most `wanted` of the nodes: those with the fewest bytes. */
function fewest(nodeIds: string[], count: number, nodes: PlanNodes): string[] {
  if (nodeIds.length <= count) return nodeIds;
  return [...nodeIds].sort((a, b) => byBytes(nodes.get(a)!, nodes.get(b)!)).slice(0, count);
}

function emptiest(
  takers: readonly PlanNode[],
  bytes: number,
  isTaken: (nodeId: string) => boolean,
): PlanNode | undefined {
  for (const fits of [hasMemory, hasRoom]) {
    let best: PlanNode | undefined;
    for (const node of takers) {
      if (best !== undefined && byBytes(node, best) >= 0) continue;
      if (fits(node, bytes) && !isTaken(node.nodeId)) best = node;
    }
    if (best !== undefined) return best;
  }
  return undefined;
}

/** Bytes that may come to a node, in its memory or not; below 0 when it has more than it should. */
export function freeBytes(node: PlanNode): number {
  return Math.max(freeMemory(node), node.mappedLimitBytes - node.plannedBytes);
}

function hasRoom(node: PlanNode, bytes: number): boolean {
  return bytes <= freeBytes(node);
}

function hasMemory(node: PlanNode, bytes: number): boolean {
  return bytes <= freeMemory(node);
}

function freeMemory({ plannedBytes, usedBytes, limitBytes }: PlanNode): number {
  return limitBytes - Math.max(plannedBytes, usedBytes);
}

function byBytes(a: PlanNode, b: PlanNode): number {
  return a.plannedBytes - b.plannedBytes || (a.nodeId < b.nodeId ? -1 : 1);
}
