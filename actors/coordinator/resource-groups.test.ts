import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ResourceGroupDoc } from "../../runtime/protocol/catalog.ts";
import { DEFAULT_GROUP } from "../../runtime/resource-groups.ts";
import { type GroupNode, planGroupNodes } from "./resource-groups.ts";

function group(name: string, requests: number, more: Partial<ResourceGroupDoc> = {}): ResourceGroupDoc {
  return { name, requests, limits: requests, transferFrom: [], transferTo: [], nodeIds: [], ...more };
}

function nodes(...nodeIds: string[]): GroupNode[] {
  return nodeIds.map((nodeId) => ({ nodeId, configured: DEFAULT_GROUP, isDraining: false }));
}

/** By name: the nodes of each group after the step. */
function applied(docs: ResourceGroupDoc[], live: GroupNode[]): Record<string, string[]> {
  const changed = new Map(planGroupNodes(docs, live).map((doc) => [doc.name, doc]));
  const names = new Set([...docs.map(({ name }) => name), ...changed.keys()]);
  return Object.fromEntries(
    [...names].map((name) => [name, (changed.get(name) ?? docs.find((doc) => doc.name === name))!.nodeIds]),
  );
}

describe("nodes of resource groups", () => {
  it("come from the default group, and go back to it", () => {
    const docs = [group("a", 2)];
    expect(applied(docs, nodes("1", "2", "3"))).toEqual({ a: ["1", "2"] });
    expect(applied([group("a", 1, { nodeIds: ["1", "2"] })], nodes("1", "2", "3"))).toEqual({ a: ["1"] });
    expect(applied([group("a", 0, { nodeIds: ["1"] })], nodes("1"))).toEqual({ a: [] });
  });

  it("are lent by the groups named, as far as those have more than they ask for", () => {
    const lender = group("lender", 1, { limits: 2, nodeIds: ["1", "2"] });
    expect(applied([lender, group("a", 2, { transferFrom: ["lender"] })], nodes("1", "2", "3"))).toEqual({
      lender: ["1"],
      a: ["2", "3"],
    });
  });

  it("are made up for when they are gone, and keep their place when nobody can", () => {
    const docs = [group("a", 2, { nodeIds: ["1", "2"] })];
    expect(applied(docs, nodes("2", "3"))).toEqual({ a: ["2", "3"] });
    expect(planGroupNodes(docs, nodes("2"))).toEqual([]);
  });

  it("are in the group that their configuration names, which comes to be", () => {
    const pinned = { nodeId: "9", configured: "fast", isDraining: false };
    expect(planGroupNodes([], [pinned])).toEqual([group("fast", 0)]);
    expect(planGroupNodes([group("fast", 1)], [pinned, ...nodes("1")])).toEqual([]);
  });

  it("are each in one group at most, as many as asked for while there are enough, and rest there", () => {
    const name = fc.constantFrom("a", "b", "c");
    const doc = fc.record({
      requests: fc.nat(4),
      more: fc.nat(2),
      transferFrom: fc.uniqueArray(name),
      transferTo: fc.uniqueArray(name),
      nodeIds: fc.uniqueArray(fc.nat(9).map(String)),
    });
    const live = fc.uniqueArray(
      fc.record({
        nodeId: fc.nat(9).map(String),
        configured: fc.constantFrom(DEFAULT_GROUP, DEFAULT_GROUP, "a", "z"),
        isDraining: fc.constantFrom(false, false, true),
      }),
      { selector: ({ nodeId }) => nodeId },
    );
    fc.assert(
      fc.property(fc.tuple(doc, doc, doc), live, (given, members) => {
        let docs = given.map(({ more, ...rest }, i): ResourceGroupDoc => {
          const own = "abc"[i]!;
          const others = (names: string[]) => names.filter((other) => other !== own);
          const { requests, nodeIds } = rest;
          const [transferFrom, transferTo] = [others(rest.transferFrom), others(rest.transferTo)];
          return { name: own, requests, limits: requests + more, nodeIds, transferFrom, transferTo };
        });
        for (let round = 0; ; round++) {
          const changed = planGroupNodes(docs, members);
          if (changed.length === 0) break;
          expect(round).toBeLessThan(5);
          const changedNames = new Set(changed.map((doc) => doc.name));
          docs = [...docs.filter((doc) => !changedNames.has(doc.name)), ...changed].sort((x, y) =>
            x.name < y.name ? -1 : 1,
          );
        }
        const takers = members.filter(({ isDraining, configured }) => !isDraining && configured === DEFAULT_GROUP);
        const isTaker = (nodeId: string) => takers.some((node) => node.nodeId === nodeId);
        const placed = docs.flatMap(({ nodeIds }) => nodeIds.filter(isTaker));
        expect(new Set(placed).size).toBe(placed.length);
        const isFree = takers.some(({ nodeId }) => !placed.includes(nodeId));
        for (const { name: own, requests, limits, nodeIds } of docs) {
          const pinned = members.filter(({ configured }) => configured === own).length;
          const count = nodeIds.filter(isTaker).length;
          expect(count).toBeLessThanOrEqual(Math.max(0, requests - pinned, limits - pinned));
          if (isFree) expect(count + pinned).toBeGreaterThanOrEqual(requests);
        }
      }),
      { seed: 3, numRuns: 500 },
    );
  });
});
