/**
 * Where the nats-server binary is. Shared by `npm run setup`, which installs one when there is none, and by the
 * runtime, which starts it. The order: $VDB_NATS_SERVER, then PATH, then `.vdb-tools/nats-server` of this project.
 */
import { spawnSync } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join } from "node:path";

/** The first with JetStream's api level 4: older ones drop atomic batches and message TTLs without a word. */
export const natsServerVersionMin = "2.14.0";

const executableName = process.platform === "win32" ? "nats-server.exe" : "nats-server";

/** Where setup puts the binary. root: the folder of package.json. */
export function installedNatsServerPath(root) {
  return join(root, ".vdb-tools", "nats-server", executableName);
}

/** Reads `nats-server: v2.15.1` (what `--version` prints) or a package's version such as `2.15.1-1+b2`. */
export function parseNatsServerVersion(text) {
  return /(?:^|[\sv:])(\d+\.\d+\.\d+)/.exec(text)?.[1];
}

/** Says why a server of this version cannot be used, or nothing when it can. */
export function refuseNatsServerVersion(version) {
  if (version === undefined) return "its version is unreadable";
  const have = version.split(".").map(Number);
  const want = natsServerVersionMin.split(".").map(Number);
  const at = want.findIndex((part, index) => part !== have[index]);
  if (at === -1 || have[at] > want[at]) return undefined;
  return `version ${version} is older than ${natsServerVersionMin}`;
}

/** Runs `--version` and returns `{ version }`, or `{ refusal }` for a binary that does not run or is too old. */
export function inspectNatsServer(path) {
  const result = spawnSync(path, ["--version"], { encoding: "utf8", timeout: 10_000 });
  if (result.status !== 0) return { refusal: `it does not run: ${result.error?.message ?? result.stderr.trim()}` };
  const version = parseNatsServerVersion(result.stdout);
  const refusal = refuseNatsServerVersion(version);
  return refusal === undefined ? { version } : { refusal };
}

/**
 * Finds a usable nats-server: `{ path, version, refused }`, where path and version are missing when there is none and
 * `refused` has one line for every binary that was found but cannot be used.
 * @throws Error when $VDB_NATS_SERVER names something unusable: an explicit choice is never passed over in silence.
 */
export function findNatsServer({ root, env = process.env }) {
  const chosen = env.VDB_NATS_SERVER;
  if (chosen) {
    const { version, refusal } = inspectNatsServer(chosen);
    if (refusal) throw new Error(`VDB_NATS_SERVER=${chosen} cannot be used: ${refusal}`);
    return { path: chosen, version, refused: [] };
  }
  const refused = [];
  const folders = (env.PATH ?? "").split(delimiter).filter(Boolean);
  const candidates = [...folders.map((folder) => join(folder, executableName)), installedNatsServerPath(root)];
  for (const path of candidates.filter(isExecutableFile)) {
    const { version, refusal } = inspectNatsServer(path);
    if (!refusal) return { path, version, refused };
    refused.push(`${path}: ${refusal}`);
  }
  return { refused };
}

function isExecutableFile(path) {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
