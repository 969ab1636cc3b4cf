import { expect, test } from "vitest";
import { seededNumbers } from "../vectors.ts";
import { CLUSTER, describeFault, nameOf, type Step, scheduleFaults } from "./schedule.ts";

function stepsOf(seed: number, count: number): Step[] {
  const schedule = scheduleFaults(seededNumbers(seed));
  return Array.from({ length: count }, () => schedule.next().value);
}

test("a seed gives the same faults every time, another seed others", () => {
  expect(stepsOf(7, 50)).toEqual(stepsOf(7, 50));
  expect(stepsOf(7, 10)).not.toEqual(stepsOf(8, 10));
});

test("every kind of fault on every role comes before any comes again", () => {
  const names = stepsOf(3, 60).flatMap(({ faults }) => faults.map(nameOf));
  const repeated = names.findIndex((name, i) => names.indexOf(name) < i);
  expect(new Set(names).size).toBe(repeated);
  for (const [role] of CLUSTER) expect(names.slice(0, repeated)).toContain(`kill ${role}`);
});

test("processes that are struck exist, and no two faults strike one role at a time", () => {
  for (const { faults } of stepsOf(5, 200)) {
    expect(new Set(faults.map(({ role }) => role)).size).toBe(faults.length);
    for (const { role, index = 0 } of faults) {
      expect(index).toBeLessThan(CLUSTER.find(([name]) => name === role)?.[1] ?? 1);
    }
  }
});

test("a schedule can be limited to some kinds", () => {
  const schedule = scheduleFaults(seededNumbers(1), ["NATS kill", "kill"]);
  const kinds = new Set(Array.from({ length: 30 }, () => schedule.next().value.faults.map(({ kind }) => kind)).flat());
  expect([...kinds].sort((a, b) => (a < b ? -1 : 1))).toEqual(["NATS kill", "kill"]);
  expect(describeFault({ kind: "kill", role: "query", index: 1, holdMs: 2500 })).toBe("kill query 1 for 2.5 s");
});

test("a NATS cluster of three has its members broken, one at a time; a single server is never asked for members", () => {
  const schedule = scheduleFaults(seededNumbers(2), undefined, 3);
  const steps = Array.from({ length: 100 }, () => schedule.next().value.faults);
  const struck = steps.map((faults) => faults.filter(({ kind }) => kind.startsWith("member")));
  expect(Math.max(...struck.map((faults) => faults.length))).toBe(1);
  const members = struck.flat();
  expect(new Set(members.map(({ kind }) => kind))).toEqual(
    new Set(["member kill", "member freeze", "member partition", "member restart"]),
  );
  expect(new Set(members.map(({ index }) => index))).toEqual(new Set([0, 1, 2, undefined]));
  expect(steps.flat().some(({ kind }) => kind === "object corruption")).toBe(false);
  expect(stepsOf(2, 100).some(({ faults }) => faults.some(({ kind }) => kind.startsWith("member")))).toBe(false);
});
