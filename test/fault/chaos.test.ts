/**
 * A cluster of real processes under load while processes are killed, frozen and slowed down, a clock jumps, and NATS
 * dies: what the clients saw must have come from a database that keeps its promises. A short schedule of a fixed seed;
 * `npm run chaos` runs longer ones, and faults that need a disk of their own.
 */
import { expect, test } from "vitest";
import { runChaos } from "../../runtime/testing/fault/run-chaos.ts";
import type { FaultKind } from "../../runtime/testing/fault/schedule.ts";

const SEED = 46;
const MINUTES = 1.5;
const KINDS: FaultKind[] = [
  "kill",
  "freeze",
  "slow",
  "clock step",
  "cache corruption",
  "NATS kill",
  "NATS freeze",
  "log full",
];

test("no promise is broken by a minute and a half of faults", async () => {
  const again = `repeat with: npm run chaos -- --seed ${SEED} --minutes ${MINUTES} --only "${KINDS.join(",")}"`;
  const say = (line: string) => console.log(line);
  // Otherwise it says nothing.
  const atLeast = { faults: 3, inserts: 100 };
  const result = await runChaos({ seed: SEED, minutes: MINUTES, atLeast, kinds: KINDS, say });
  expect(result.violations.slice(0, 10), again).toEqual([]);
  // How long things took is told, not judged: `problems` is for `npm run chaos`, on a machine that does nothing else.
  for (const problem of result.problems) say(problem);
}, 1_800_000);
