/**
 * `npm run bench:peers`: vdb-actor beside other databases and the raw libraries, on the same machine, data, k and recall,
 * one after the other. `--only NAME,NAME` peers, `--data NAME,NAME` data sets, `--seconds N` a measurement, `--list`.
 */
import { fork } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { PROJECT_FOLDER, VERSION } from "../../runtime/version.ts";
import { DATA_SETS } from "./data-sets.ts";
import type { PeerResult } from "./measure.ts";
import { installPeers } from "./packages.ts";
import { PEERS } from "./peers.ts";
import { report } from "./report.ts";

const { values } = parseArgs({
  options: {
    only: { type: "string" },
    data: { type: "string" },
    seconds: { type: "string", default: "5" },
    list: { type: "boolean", default: false },
  },
});

function measure(peer: string, data: string): Promise<PeerResult> {
  const module = fileURLToPath(new URL("./measure.js", import.meta.url));
  const child = fork(module, [peer, data, values.seconds], {
    serialization: "advanced",
    execArgv: ["--expose-gc"],
  });
  return new Promise((resolve) => {
    let result: PeerResult | undefined;
    child.on("message", (message) => {
      result = message as PeerResult;
    });
    child.on("exit", (code, signal) => {
      resolve(result ?? { peer, data, skipped: `its process ended with ${signal ?? code}` });
    });
  });
}

function chosen(wanted: string | undefined, all: readonly string[], usual = all): readonly string[] {
  if (wanted === undefined) return usual;
  const names = wanted.split(",");
  const unknown = names.find((name) => !all.includes(name));
  if (unknown !== undefined) throw new Error(`no ${unknown} here: one of ${all.join(", ")}`);
  return names;
}

const peerNames = PEERS.map(({ name }) => name);
const dataNames = DATA_SETS.map(({ name }) => name);
const measured = dataNames.filter((name) => name !== "smoke");
if (values.list) {
  process.stdout.write(`peers: ${peerNames.join(", ")}\ndata:  ${dataNames.join(", ")}\n`);
} else {
  const peers = chosen(values.only, peerNames);
  const sets = chosen(values.data, dataNames, measured);
  try {
    installPeers();
  } catch (error) {
    // Each peer reports a missing package itself.
    process.stderr.write(`${(error as Error).message}\n`);
  }
  const results: PeerResult[] = [];
  for (const set of sets) {
    for (const peer of peers) results.push(await measure(peer, set));
    const { description } = DATA_SETS.find(({ name }) => name === set)!;
    process.stdout.write(`\n== ${description}\n${report(results.filter(({ data }) => data === set))}\n`);
  }
  const machine = { cpu: cpus()[0]?.model ?? "?", cores: cpus().length, node: process.version };
  const folder = join(PROJECT_FOLDER, "bench", "results");
  const file = join(folder, `peers-${new Date().toISOString().slice(0, 19).replace(/:/g, "")}.json`);
  await mkdir(folder, { recursive: true });
  await writeFile(file, `${JSON.stringify({ version: VERSION, machine, results }, null, 2)}\n`);
  process.stdout.write(`\n${file}\n`);
}
