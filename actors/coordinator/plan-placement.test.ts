import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  hasCopies,
  type Move,
  type PlanNode,
  PlanNodes,
  type PlanSegment,
  planCopies,
  planMoves,
} from "./plan-placement.ts";

const MOVES_MAX = 4;
/** Rounds after which a cluster that nothing happens to must rest. */
const ROUNDS_MAX = 400;

interface TestNode {
  nodeId: string;
  group: string;
  isDraining: boolean;
  limitBytes: number;
}

/** A cluster in which what is planned happens at once: loads first, and what the next view leaves out afterwards. */
class Cluster {
  nodes: TestNode[] = [];
  readonly segments = new Map<string, { bytes: number; serve: string[]; loading: string[] }>();
  readonly moves = new Map<string, Move>();
  wanted: ReadonlyMap<string, number>;

  constructor(wanted: Record<string, number>) {
    this.wanted = new Map(Object.entries(wanted));
  }

  /** One round; whether anything changed. */
  round(): boolean {
    const nodes = this.planNodes();
    let changed = false;
    const even = new Map<string, PlanSegment[]>();
    for (const [segmentId, segment] of this.segments) {
      const alive = (nodeId: string) => nodes.get(nodeId) !== undefined;
      const arrived = segment.loading.filter(alive);
      segment.loading = [];
      const ready = [...segment.serve.filter(alive), ...arrived];
      const planned = { segmentId, bytes: segment.bytes, ready, loading: [], resting: [] };
      const plan = planCopies(planned, this.wanted, nodes, this.moves.get(segmentId)?.from);
      this.check(ready, plan.serve);
      if (String(plan.serve) !== String(segment.serve) || plan.load.length > 0) changed = true;
      segment.serve = plan.serve;
      segment.loading = plan.load;
      if (arrived.length > 0) this.moves.delete(segmentId);
      if (plan.load.length > 0) continue;
      for (const nodeId of plan.serve) {
        const { group } = nodes.get(nodeId)!;
        const now = { ...planned, ready: plan.serve };
        if (!hasCopies(now, group, this.wanted.get(group) ?? 0, nodes)) continue;
        even.set(nodeId, [...(even.get(nodeId) ?? []), now]);
      }
    }
    for (const group of nodes.groups) {
      for (const move of planMoves(nodes.takers(group), even, MOVES_MAX - this.moves.size)) {
        this.moves.set(move.segmentId, move);
        this.segments.get(move.segmentId)!.loading = [move.to];
        changed = true;
      }
    }
    return changed;
  }

  settle(): void {
    for (let round = 0; this.round(); round++) expect(round).toBeLessThan(ROUNDS_MAX);
  }

  planNodes(): PlanNodes {
    const nodes = this.nodes.map((node): PlanNode => ({ ...node, mappedLimitBytes: 0, usedBytes: 0, plannedBytes: 0 }));
    const byId = new Map(nodes.map((node) => [node.nodeId, node]));
    for (const [segmentId, { bytes, serve, loading }] of this.segments) {
      for (const nodeId of new Set([...serve, ...loading])) {
        const node = byId.get(nodeId);
        if (node !== undefined && this.moves.get(segmentId)?.from !== nodeId) node.plannedBytes += bytes;
      }
    }
    return new PlanNodes(nodes);
  }

  bytesOf(nodeId: string): number {
    let bytes = 0;
    for (const segment of this.segments.values()) if (segment.serve.includes(nodeId)) bytes += segment.bytes;
    return bytes;
  }

  takers(group: string): TestNode[] {
    return this.nodes.filter((node) => node.group === group && !node.isDraining);
  }

  /** What is left out of a view is replaced: each group still has what it should, and somebody has the segment. */
  private check(ready: string[], serve: string[]): void {
    expect(new Set(serve).size).toBe(serve.length);
    expect(serve.every((nodeId) => ready.includes(nodeId))).toBe(true);
    if (serve.length === ready.length) return;
    expect(serve.length).toBeGreaterThan(0);
    const groupOf = (nodeId: string) => this.nodes.find((node) => node.nodeId === nodeId)!.group;
    const left = ready.filter((nodeId) => !serve.includes(nodeId)).map(groupOf);
    for (const [group, count] of this.wanted) {
      // A group from which nothing was taken may lack what it lacked before.
      if (!left.includes(group)) continue;
      const takers = this.takers(group).map(({ nodeId }) => nodeId);
      const copies = serve.filter((nodeId) => takers.includes(nodeId)).length;
      expect(copies).toBeGreaterThanOrEqual(Math.min(count, takers.length));
    }
  }
}

const GROUPS = ["a", "b"];
const event = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("join" as const), group: fc.constantFrom(...GROUPS) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("die" as const), at: fc.nat(20) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("drain" as const), at: fc.nat(20) }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("segments" as const), bytes: fc.array(fc.nat(1000), { maxLength: 8 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("rounds" as const), count: fc.nat(3) }) },
);

type Event = typeof event extends fc.Arbitrary<infer T> ? T : never;

/** What comes of a run of events, at rest. */
function restAfter(wanted: { a: number; b: number }, events: readonly Event[]): Cluster {
  const cluster = new Cluster(wanted.b === 0 ? { a: wanted.a } : wanted);
  let count = 0;
  for (const happening of events) {
    const node = cluster.nodes["at" in happening ? happening.at % Math.max(1, cluster.nodes.length) : 0];
    if (happening.kind === "join") {
      const nodeId = `n${String(count++).padStart(3, "0")}`;
      const limitBytes = Number.POSITIVE_INFINITY;
      cluster.nodes.push({ nodeId, group: happening.group, isDraining: false, limitBytes });
    } else if (happening.kind === "die") cluster.nodes = cluster.nodes.filter((other) => other !== node);
    else if (happening.kind === "drain" && node !== undefined) node.isDraining = true;
    else if (happening.kind === "segments") {
      for (const bytes of happening.bytes) {
        cluster.segments.set(`s${String(count++).padStart(3, "0")}`, { bytes, serve: [], loading: [] });
      }
    } else if (happening.kind === "rounds") for (let i = 0; i < happening.count; i++) cluster.round();
    cluster.round();
  }
  cluster.settle();
  return cluster;
}

describe("placement", () => {
  it("settles, with every replica where it should be and bytes even, whatever happened before", () => {
    fc.assert(
      fc.property(
        fc.record({ a: fc.integer({ min: 1, max: 3 }), b: fc.integer({ min: 0, max: 2 }) }),
        fc.array(event, { minLength: 3, maxLength: 25 }),
        (wanted, events) => {
          const cluster = restAfter(wanted, events);
          expect([...restAfter(wanted, events).segments]).toEqual([...cluster.segments]);
          const largest = Math.max(0, ...[...cluster.segments.values()].map(({ bytes }) => bytes));
          for (const [group, replicas] of cluster.wanted) {
            const takers = cluster.takers(group).map(({ nodeId }) => nodeId);
            for (const { serve } of cluster.segments.values()) {
              const copies = serve.filter((nodeId) => takers.includes(nodeId)).length;
              expect(copies).toBe(Math.min(replicas, takers.length));
            }
            // More replicas leave fewer nodes to choose from; with one, nodes differ by the slack or by what no move betters.
            if (replicas > 1 || takers.length < 2) continue;
            const bytes = takers.map((nodeId) => cluster.bytesOf(nodeId));
            const mean = bytes.reduce((sum, b) => sum + b, 0) / bytes.length;
            expect(Math.max(...bytes) - Math.min(...bytes)).toBeLessThanOrEqual(
              Math.max(0.2 * mean, largest / 0.75) + 1,
            );
          }
          for (const { nodeId, group } of cluster.nodes.filter(({ isDraining }) => isDraining)) {
            const isWanted = cluster.wanted.has(group);
            const hasOthers = (name: string) => cluster.takers(name).length > 0;
            if (isWanted ? hasOthers(group) : [...cluster.wanted.keys()].every(hasOthers)) {
              expect(cluster.bytesOf(nodeId)).toBe(0);
            }
          }
        },
      ),
      { seed: 7, numRuns: 200 },
    );
  });

  it("leaves a few equal segments where they are: a move that only swaps the roles helps nobody", () => {
    const cluster = new Cluster({ a: 1 });
    const node = (nodeId: string): TestNode => ({ nodeId, group: "a", isDraining: false, limitBytes: 1e9 });
    cluster.nodes = [node("n1")];
    for (const id of ["s1", "s2", "s3"]) cluster.segments.set(id, { bytes: 100, serve: [], loading: [] });
    cluster.settle();
    cluster.nodes.push(node("n2"));
    cluster.settle();
    expect([cluster.bytesOf("n1"), cluster.bytesOf("n2")]).toEqual([200, 100]);
    expect(cluster.round()).toBe(false);
  });

  it("puts nothing where it does not fit, and says so", () => {
    const nodes = new PlanNodes([
      {
        nodeId: "n1",
        group: "a",
        isDraining: false,
        limitBytes: 100,
        mappedLimitBytes: 0,
        usedBytes: 50,
        plannedBytes: 0,
      },
      {
        nodeId: "n2",
        group: "a",
        isDraining: false,
        limitBytes: 100,
        mappedLimitBytes: 0,
        usedBytes: 0,
        plannedBytes: 60,
      },
    ]);
    const segment = (bytes: number) => ({ segmentId: "s", bytes, ready: [], loading: [], resting: [] });
    const wanted = new Map([["a", 2]]);
    expect(planCopies(segment(60), wanted, nodes)).toMatchObject({ load: [], isComplete: false, noRoomIn: "a" });
    expect(planCopies(segment(45), wanted, nodes)).toMatchObject({ load: ["n1"], noRoomIn: "a" });
  });

  it("puts what no memory has room for where it is read from the disk, as far as that goes", () => {
    const node = { group: "a", isDraining: false, limitBytes: 100, usedBytes: 0 };
    const nodes = new PlanNodes([
      { ...node, nodeId: "full", mappedLimitBytes: 500, plannedBytes: 90 },
      { ...node, nodeId: "fuller", mappedLimitBytes: 1000, plannedBytes: 95 },
      { ...node, nodeId: "memory", mappedLimitBytes: 0, limitBytes: 1000, plannedBytes: 800 },
    ]);
    const wanted = new Map([["a", 1]]);
    const place = (bytes: number) =>
      planCopies({ segmentId: "s", bytes, ready: [], loading: [], resting: [] }, wanted, nodes);
    expect(place(150)).toMatchObject({ load: ["memory"] });
    expect(place(300)).toMatchObject({ load: ["full"] });
    expect(place(300)).toMatchObject({ load: ["fuller"] });
    expect(place(700)).toMatchObject({ load: [], noRoomIn: "a" });
  });

  it("moves nothing out of memory to a disk", () => {
    const node = { group: "a", isDraining: false, mappedLimitBytes: 1e9, usedBytes: 0 };
    const segment = { segmentId: "s", bytes: 50, ready: ["large"], loading: [], resting: [] };
    const movesWith = (limitBytes: number) => {
      const large = { ...node, nodeId: "large", limitBytes, plannedBytes: 300 };
      const small = { ...node, nodeId: "small", limitBytes: 10, plannedBytes: 0 };
      return planMoves([large, small], new Map([["large", [segment]]]), 1);
    };
    expect(movesWith(300)).toEqual([]);
    expect(movesWith(299)).toEqual([{ segmentId: "s", from: "large", to: "small" }]);
  });

  it("blames memory only where there is a node to ask", () => {
    const node = { group: "a", isDraining: false, limitBytes: 100, mappedLimitBytes: 0, usedBytes: 0, plannedBytes: 0 };
    const segment = { segmentId: "s", bytes: 60, ready: [], loading: [], resting: ["n1"] };
    const wanted = new Map([["a", 1]]);
    const one = new PlanNodes([{ ...node, nodeId: "n1" }]);
    expect(planCopies(segment, wanted, one)).toMatchObject({ load: [], isComplete: false, noRoomIn: null });
    const two = new PlanNodes([
      { ...node, nodeId: "n1" },
      { ...node, nodeId: "n2", usedBytes: 50 },
    ]);
    expect(planCopies(segment, wanted, two)).toMatchObject({ load: [], noRoomIn: "a" });
  });

  it("serves a replica that changes its group where it was, until the other group has it", () => {
    const node = { isDraining: false, limitBytes: 1e9, mappedLimitBytes: 0, usedBytes: 0, plannedBytes: 0 };
    const a = ["n1", "n2", "n3"].map((nodeId) => ({ ...node, nodeId, group: "a" }));
    const nodes = new PlanNodes([...a, { ...node, nodeId: "n4", group: "b" }]);
    const segment = { segmentId: "s", bytes: 1, ready: ["n1", "n2", "n3"], loading: [], resting: [] };
    // Three replicas in group a before; one of them was taken away, and one goes to group b.
    const wanted = new Map([
      ["a", 1],
      ["b", 1],
    ]);
    const before = planCopies(segment, wanted, nodes);
    expect(before.load).toEqual(["n4"]);
    expect(before.serve).toHaveLength(2);
    const after = planCopies({ ...segment, ready: [...segment.ready, "n4"] }, wanted, nodes);
    expect(after.serve).toEqual(["n1", "n4"]);
    // A node that drains is not held up by it, nor one that its copy moves away from.
    const draining = new PlanNodes([a[0]!, { ...a[1]!, isDraining: true }, { ...node, nodeId: "n4", group: "b" }]);
    expect(planCopies({ ...segment, ready: ["n1", "n2"] }, wanted, draining).serve).toEqual(["n1"]);
    expect(planCopies({ ...segment, ready: ["n1", "n2"] }, wanted, nodes, "n2").serve).toEqual(["n1"]);
  });

  it("keeps the only copy of a node that is to leave until another has it", () => {
    const node = { group: "a", limitBytes: 1e9, mappedLimitBytes: 0, usedBytes: 0, plannedBytes: 0 };
    const leaving = { ...node, nodeId: "n1", isDraining: true };
    const segment = { segmentId: "s", bytes: 1, ready: ["n1"], loading: [], resting: [] };
    const wanted = new Map([["a", 1]]);
    expect(planCopies(segment, wanted, new PlanNodes([leaving])).serve).toEqual(["n1"]);
    const both = new PlanNodes([leaving, { ...node, nodeId: "n2", isDraining: false }]);
    expect(planCopies(segment, wanted, both)).toMatchObject({ serve: ["n1"], load: ["n2"] });
    expect(planCopies({ ...segment, ready: ["n1", "n2"] }, wanted, both)).toMatchObject({ serve: ["n2"], load: [] });
  });

  it("plans 10,000 segments on 100 nodes without scanning more than it must", () => {
    const planNodes = Array.from({ length: 100 }, (_, i) => ({
      ...{
        nodeId: `n${i}`,
        group: "a",
        isDraining: false,
        limitBytes: 1e12,
        mappedLimitBytes: 0,
        usedBytes: 0,
        plannedBytes: 0,
      },
    }));
    const nodes = new PlanNodes(planNodes);
    const wanted = new Map([["a", 2]]);
    for (let i = 0; i < 10_000; i++) {
      const segment = { segmentId: `s${i}`, bytes: 1 + (i % 7), ready: [], loading: [], resting: [] };
      expect(planCopies(segment, wanted, nodes).load).toHaveLength(2);
    }
    const bytes = planNodes.map(({ plannedBytes }) => plannedBytes);
    expect(Math.max(...bytes) - Math.min(...bytes)).toBeLessThanOrEqual(7);
  });
});
