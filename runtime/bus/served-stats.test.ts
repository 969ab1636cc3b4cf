import { expect, test } from "vitest";
import { VdbError } from "../errors.ts";
import { requestFigures, ServedStats } from "./served-stats.ts";

test("each duration counts in the bucket of the first bound that holds it", () => {
  const stats = new ServedStats();
  for (const ms of [0, 0.25, 0.26, 30_000, 30_001]) stats.took(ms);
  const { bounds, counts, sum } = stats.durations;
  const counted = Array.from(counts).flatMap((count, i) => (count === 0 ? [] : [[bounds[i] ?? null, count]]));
  expect(counted).toEqual([
    [0.00025, 2],
    [0.0005, 1],
    [30, 1],
    [null, 1],
  ]);
  expect(sum).toBeCloseTo(60.00151);
  expect(stats.answered).toBe(5);
});

test("errors are counted by kind; what nobody asked for is left out", () => {
  const search = new ServedStats();
  search.requests = 4;
  for (const kind of ["overloaded", "internal", "overloaded"] as const) {
    search.failed(new VdbError(kind, `it was ${kind}`));
    search.took(1);
  }
  expect(search).toMatchObject({ errors: 3, lastError: "it was overloaded" });
  const labels = { role: "query", operation: "search" };
  const figures = requestFigures(
    new Map([
      ["query.{nodeId}.search", search],
      ["v2.entities.search", new ServedStats()],
    ]),
  );
  expect(figures).toMatchObject({
    vdb_request_duration_seconds: [[labels, { sum: 0.003 }]],
    vdb_requests_in_flight: [[labels, 1]],
    vdb_request_errors_total: [
      [{ ...labels, kind: "overloaded" }, 2],
      [{ ...labels, kind: "internal" }, 1],
    ],
  });
});
