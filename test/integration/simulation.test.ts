/**
 * Simulated clusters under faults: seed after seed, each a run of the real actors on simulated ports. A seed that fails
 * here fails everywhere: `npm run sim -- --seed N`.
 */
import { expect, test } from "vitest";
import { PLANTED_BUGS, type PlantedBug } from "../../runtime/sim/planted-bugs.ts";
import { runSeed } from "../../runtime/sim/run-seed.ts";

/** Enough for every kind of fault many times; far more run by hand. */
const SEEDS = 100;

/** What has to happen in that many seeds, or they find nothing: faults, and the steps of a segment's life among them. */
const MUST_HAPPEN = [
  "crash",
  "freeze",
  "partition",
  "servers apart",
  "message lost with a connection",
  "message lost between servers",
  "request to a store lost",
  "answer of a store lost",
  "request to a store late",
  "stale read",
  "leader changed",
  "channel moved",
  "segment flushed",
  "delta written",
  "index entered",
  "compacted segments staged",
  "compacted segments swapped in",
  "view changed",
  "log cut",
  "object collected",
  "partition dropped",
  "field added",
  "collection replaced",
];

test(`${SEEDS} seeds keep every promise, and are full of faults`, { timeout: 600_000 }, async () => {
  const failed: string[] = [];
  const happened = new Set<string>();
  const started = performance.now();
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { problems, tally } = await runSeed({ seed });
    for (const what of tally.keys()) happened.add(what);
    if (problems.length > 0) failed.push(`npm run sim -- --seed ${seed}\n${problems.join("\n")}`);
  }
  console.log(`${Math.round((SEEDS / (performance.now() - started)) * 60_000)} seeds a minute`);
  expect(failed).toEqual([]);
  expect(MUST_HAPPEN.filter((what) => !happened.has(what))).toEqual([]);
});

test("a long seed keeps every promise", { timeout: 600_000 }, async () => {
  expect((await runSeed({ seed: 1, isLong: true })).problems).toEqual([]);
});

test("a seed repeats exactly, in whatever company it runs", { timeout: 600_000 }, async () => {
  const alone = await runSeed({ seed: 7 });
  const other = await runSeed({ seed: 8 });
  const again = await runSeed({ seed: 7 });
  expect(other.traceHash).not.toBe(alone.traceHash);
  expect(again).toEqual(alone);
});

test.each(Object.keys(PLANTED_BUGS) as PlantedBug[])(
  "a planted bug is found: %s",
  { timeout: 600_000 },
  async (plant) => {
    for (let seed = 1; seed <= 1_000; seed++) {
      const { problems } = await runSeed({ seed, plant, stopsAtProblem: true });
      if (problems.length === 0) continue;
      console.log(`${plant}: seed ${seed} says ${problems[0]!.split("\n", 1)[0]}`);
      return;
    }
    expect.unreachable(`no seed has found it`);
  },
);
