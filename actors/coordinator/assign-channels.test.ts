import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { planMoves } from "./assign-channels.ts";

type Owners = ({ nodeId: string } | undefined)[];

const NODES = ["n1", "n2", "n3", "n4", "n5"];
const owners: fc.Arbitrary<Owners> = fc.array(
  fc.option(
    fc.constantFrom(...NODES, "gone-1", "gone-2").map((nodeId) => ({ nodeId })),
    { nil: undefined },
  ),
  { maxLength: 16 },
);
const live = fc.subarray(NODES, { minLength: 1 });

function applied(before: Owners, moves: Map<number, string>): Owners {
  return before.map((owner, pchannel) => {
    const nodeId = moves.get(pchannel);
    return nodeId === undefined ? owner : { nodeId };
  });
}

function isOrphan(owner: Owners[number], nodeIds: readonly string[]): boolean {
  return owner === undefined || !nodeIds.includes(owner.nodeId);
}

/** Steps until nothing is left to do. */
function settle(before: Owners, nodeIds: readonly string[]): { owners: Owners; steps: number } {
  let current = before;
  for (let steps = 0; steps <= before.length + 1; steps++) {
    const moves = planMoves(current, nodeIds);
    if (moves.size === 0) return { owners: current, steps };
    current = applied(current, moves);
  }
  throw new Error("moves never end");
}

describe("planMoves", () => {
  it("gives every channel to a live node in one step", () => {
    fc.assert(
      fc.property(owners, live, (before, nodeIds) => {
        const after = applied(before, planMoves(before, nodeIds));
        expect(after.filter((owner) => isOrphan(owner, nodeIds))).toEqual([]);
      }),
    );
  });

  it("moves nothing that has a live owner while something has none", () => {
    fc.assert(
      fc.property(owners, live, (before, nodeIds) => {
        const orphans = before.flatMap((owner, pchannel) => (isOrphan(owner, nodeIds) ? [pchannel] : []));
        const moves = planMoves(before, nodeIds);
        if (orphans.length > 0) expect([...moves.keys()].sort((a, b) => a - b)).toEqual(orphans);
        else expect(moves.size).toBeLessThanOrEqual(1);
      }),
    );
  });

  it("ends balanced within one channel, and then stays as it is", () => {
    fc.assert(
      fc.property(owners, live, (before, nodeIds) => {
        const { owners: after } = settle(before, nodeIds);
        const counts = nodeIds.map((nodeId) => after.filter((owner) => owner?.nodeId === nodeId).length);
        expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
        expect(planMoves(after, nodeIds).size).toBe(0);
      }),
    );
  });

  it("does not depend on the order in which nodes are listed", () => {
    fc.assert(
      fc.property(owners, live, (before, nodeIds) => {
        expect([...planMoves(before, [...nodeIds].reverse())]).toEqual([...planMoves(before, nodeIds)]);
      }),
    );
  });

  it("spreads the channels of a dead node over the others, fewest first", () => {
    const before = ["n1", "n1", "gone", "gone", "gone", "n2"].map((nodeId) => ({ nodeId }));
    expect(Object.fromEntries(planMoves(before, ["n1", "n2", "n3"]))).toEqual({ 2: "n3", 3: "n2", 4: "n3" });
  });

  it("gives a new node one channel a step", () => {
    const before = ["n1", "n1", "n1", "n1"].map((nodeId) => ({ nodeId }));
    expect([...planMoves(before, ["n1", "n2"])]).toEqual([[3, "n2"]]);
    expect(settle(before, ["n1", "n2"]).steps).toBe(2);
  });

  it("waits while no node is there", () => {
    expect(planMoves([undefined, { nodeId: "n1" }], []).size).toBe(0);
  });
});
