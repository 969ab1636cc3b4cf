import { expect, test } from "vitest";
import { reportTable } from "./report.ts";
import type { ChaosResult, FaultResult } from "./run-chaos.ts";

function fault(name: string, writableMs: number | null): FaultResult {
  const times = { searchableMs: 100, healedWritableMs: 100, healedSearchableMs: 100 };
  return { name, writableMs, ...times, longestWriteMs: 2000, longestReadMs: 3000, failedCalls: 1 };
}

function result(seed: number, faults: FaultResult[], natsServers: 1 | 3 = 1): ChaosResult {
  return {
    seed,
    minutes: 5,
    natsServers,
    startedAt: "2026-01-01T00:00:00.000Z",
    operations: { insert: 10, get: 20 },
    unknownOutcomes: 2,
    faults,
    skipped: [],
    unexpectedExits: [],
    problems: [],
    violations: [],
  };
}

test("results of several runs become one table: a row a fault, median and worst", () => {
  const table = reportTable([
    result(1, [fault("kill query", 1000), fault("kill proxy", 200)]),
    result(2, [fault("kill query", 3000), fault("kill query", 2000)]),
  ]);
  expect(table).toContain("| kill query | 3 | 2.0 / 3.0 |");
  expect(table).toContain("| kill proxy | 1 | 0.2 / 0.2 |");
  expect(table).toContain("2 runs (seeds 1, 2), 10 minutes of faults: 4 faults, 60 operations checked");
});

test("what never came back is said so", () => {
  expect(reportTable([result(1, [fault("NATS kill", null)])])).toContain("| NATS kill | 1 | never / never |");
});

test("the report says when NATS was a cluster", () => {
  const faults = [fault("member kill", 900)];
  expect(reportTable([result(1, faults, 3)])).toContain("5 minutes of faults on a NATS cluster of three: 1 faults");
  expect(reportTable([result(1, faults)])).not.toContain("three");
});
