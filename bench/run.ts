/**
 * `npm run bench`: loads 50,000 records into one process and into five, and reports what it got, as a table and as JSON
 * (bench/results/). `--seconds N` a measurement, `--rows N` fewer rows, `--only single|five`.
 */
import { fork } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { PROJECT_FOLDER, VERSION } from "../runtime/version.ts";
import type { ScenarioResult } from "./scenario.ts";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "5" },
    rows: { type: "string", default: "0" },
    only: { type: "string" },
  },
});

function run(scenario: string): Promise<ScenarioResult> {
  const module = fileURLToPath(new URL("./scenario.js", import.meta.url));
  const child = fork(module, [scenario, values.seconds, values.rows], { serialization: "advanced" });
  return new Promise((resolve, reject) => {
    let result: ScenarioResult | undefined;
    child.on("message", (message) => {
      result = message as ScenarioResult;
    });
    child.on("exit", (code) => {
      if (result !== undefined) resolve(result);
      else reject(new Error(`scenario ${scenario} ended with ${code}`));
    });
  });
}

function report(result: ScenarioResult): string {
  const { load, searches, memory, profile } = result;
  const lines = [
    `\n== ${result.scenario === "single" ? "one process, client inside" : "five processes, client over NATS"}`,
    `insert   ${Math.round(load.insertRowsPerSecond)} rows/s (${load.rows} rows, durable)`,
    `indexed  ${load.indexedSeconds.toFixed(1)} s after the last insert`,
    "clients  filter     QPS    p50 ms   p99 ms   recall@10",
    ...searches.map(
      (s) =>
        `${String(s.clients).padStart(7)}  ${s.filter.padEnd(6)} ${s.qps.toFixed(0).padStart(7)} ${s.p50Ms.toFixed(2).padStart(9)} ${s.p99Ms.toFixed(2).padStart(8)} ${s.recallAt10.toFixed(4).padStart(11)}`,
    ),
    `peak RSS ${memory.map(({ process: name, peakMiB }) => `${name} ${peakMiB} MiB`).join(", ")}`,
  ];
  if (profile !== undefined) {
    lines.push(`main thread while searching: idle ${profile.idlePercent.toFixed(0)} %; of the rest:`);
    for (const row of profile.top) lines.push(`  ${row.percent.toFixed(1).padStart(5)} %  ${row.function}`);
  }
  return lines.join("\n");
}

const scenarios = values.only === undefined ? ["single", "five"] : [values.only];
const results: ScenarioResult[] = [];
for (const scenario of scenarios) {
  const result = await run(scenario);
  results.push(result);
  process.stdout.write(`${report(result)}\n`);
}
const machine = { cpu: cpus()[0]?.model ?? "?", cores: cpus().length, node: process.version };
const file = join(
  PROJECT_FOLDER,
  "bench",
  "results",
  `${new Date().toISOString().slice(0, 19).replace(/:/g, "")}.json`,
);
await mkdir(join(PROJECT_FOLDER, "bench", "results"), { recursive: true });
await writeFile(file, `${JSON.stringify({ version: VERSION, machine, results }, null, 2)}\n`);
process.stdout.write(`\n${file}\n`);
