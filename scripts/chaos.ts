/**
 * `npm run chaos -- --seed N --minutes M [--nats 3]`: breaks a cluster of real processes in every way it knows, under load, and
 * checks what its clients saw. Exit code 1 when anything was wrong; then it says how to run the same faults again.
 *
 * `npm run chaos -- --report a.json b.json`: the results of several runs as one table.
 */
import { readFile, writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { errorMessage } from "../runtime/errors.ts";
import { reportTable } from "../runtime/testing/fault/report.ts";
import { type ChaosResult, runChaos } from "../runtime/testing/fault/run-chaos.ts";
import type { FaultKind } from "../runtime/testing/fault/schedule.ts";

const VIOLATIONS_SHOWN = 30;

const say = (line: string) => console.log(line);

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: "string" },
    minutes: { type: "string", default: "5" },
    nats: { type: "string", default: "1" },
    only: { type: "string" },
    skip: { type: "string", default: "0" },
    out: { type: "string" },
    report: { type: "boolean", default: false },
  },
});

try {
  process.exit(values.report ? await report(positionals) : await chaos());
} catch (error) {
  console.error(`chaos failed: ${errorMessage(error)}`);
  process.exit(2);
}

async function report(files: readonly string[]): Promise<number> {
  const results = await Promise.all(files.map(async (file) => JSON.parse(await readFile(file, "utf8")) as ChaosResult));
  say(reportTable(results));
  return 0;
}

async function chaos(): Promise<number> {
  const seed = values.seed === undefined ? Math.floor(Math.random() * 1_000_000) : Number(values.seed);
  const minutes = Number(values.minutes);
  const out = values.out ?? `chaos-${seed}.json`;
  const only = values.only?.split(",").map((kind) => kind.trim()) as FaultKind[] | undefined;
  const natsServers = Number(values.nats);
  if (natsServers !== 1 && natsServers !== 3) throw new Error(`--nats takes 1 or 3, got ${values.nats}`);
  const again = `npm run chaos -- --seed ${seed} --minutes ${minutes}${natsServers === 1 ? "" : " --nats 3"}${only === undefined ? "" : ` --only "${only.join(",")}"`}${values.skip === "0" ? "" : ` --skip ${values.skip}`}`;
  say(`seed ${seed}, ${minutes} minutes, ${natsServers === 1 ? "one NATS server" : "a NATS cluster of three"}`);
  const interrupted = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => interrupted.abort());
  const result = await runChaos({
    seed,
    minutes,
    natsServers,
    skip: Number(values.skip),
    ...(only === undefined ? {} : { kinds: only }),
    say,
    signal: interrupted.signal,
    historyFile: `${out.replace(/\.json$/, "")}.history.ndjson`,
  });
  await writeFile(out, JSON.stringify(result, null, 2));
  say(`\n${reportTable([result])}\n`);
  for (const problem of result.problems) say(`problem: ${problem}`);
  for (const { kind, message } of result.violations.slice(0, VIOLATIONS_SHOWN)) say(`violation: ${kind}: ${message}`);
  if (result.violations.length > VIOLATIONS_SHOWN) say(`and ${result.violations.length - VIOLATIONS_SHOWN} more`);
  say(`result: ${out}`);
  if (result.violations.length + result.problems.length === 0) return 0;
  say(`again: ${again}`);
  return 1;
}
