/**
 * Simulated clusters under faults: seed after seed, each a run of the real actors on simulated ports. A seed that fails
 * here fails everywhere: `npm run sim -- --seed N`.
 */
import { expect, test } from "vitest";
import { PLANTED_BUGS, type PlantedBug } from "../../runtime/sim/planted-bugs.ts";
import { runSeed } from "../../runtime/sim/run-seed.ts";

/** Enough for every kind of fault many times; far more run by hand. */
const SEEDS = 100;
/** Of virtual time, with faults. */
const FAULT_MS = 12_000;

test(`${SEEDS} seeds keep every promise`, { timeout: 600_000 }, async () => {
  const failed: string[] = [];
  const started = performance.now();
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { problems } = await runSeed({ seed, faultMs: FAULT_MS });
    if (problems.length > 0)
      failed.push(`npm run sim -- --seed ${seed} --fault-ms ${FAULT_MS}\n${problems.join("\n")}`);
  }
  console.log(`${Math.round((SEEDS / (performance.now() - started)) * 60_000)} seeds a minute`);
  expect(failed).toEqual([]);
});

test("a seed repeats exactly, in whatever company it runs", { timeout: 120_000 }, async () => {
  const alone = await runSeed({ seed: 7, faultMs: FAULT_MS });
  const other = await runSeed({ seed: 8, faultMs: FAULT_MS });
  const again = await runSeed({ seed: 7, faultMs: FAULT_MS });
  expect(other.traceHash).not.toBe(alone.traceHash);
  expect(again).toEqual(alone);
});

test.each(Object.keys(PLANTED_BUGS) as PlantedBug[])(
  "a planted bug is found: %s",
  { timeout: 600_000 },
  async (plant) => {
    for (let seed = 1; seed <= 200; seed++) {
      const { problems } = await runSeed({ seed, plant });
      if (problems.length === 0) continue;
      console.log(`${plant}: seed ${seed} says ${problems[0]!.split("\n", 1)[0]}`);
      return;
    }
    expect.unreachable(`no seed has found it`);
  },
);
