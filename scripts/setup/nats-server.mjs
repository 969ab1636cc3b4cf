/**
 * Gets a nats-server into `.vdb-tools/nats-server` when the machine has none that is new enough: the pinned release
 * from GitHub, else the package of a newer suite of the machine's own Debian mirror.
 */
import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { deriveSuiteSource, hasApt, privateApt, readAptSources, readOsRelease, unpackPackages } from "./apt.mjs";
import {
  findNatsServer,
  inspectNatsServer,
  installedNatsServerPath,
  natsServerVersionMin,
  parseNatsServerVersion,
  refuseNatsServerVersion,
} from "./find-nats-server.mjs";
import { lastLines, onPath, run, SetupError, say } from "./process.mjs";

/** The release the project is tested with. */
const natsServerRelease = "2.15.1";

const releaseUrl = `https://github.com/nats-io/nats-server/releases/download/v${natsServerRelease}`;

/** Suites that carry a new enough server, steadiest first. Suites before forky stop at 2.10. */
const newerSuites = { debian: ["forky", "sid"], ubuntu: ["devel"] };

/** Makes sure a usable nats-server is there. @throws SetupError with what to install. */
export async function setupNatsServer(root) {
  const found = findOrExplain(root);
  for (const line of found.refused) say("nats-server", `refused ${line}`);
  if (found.path !== undefined) return say("nats-server", `${found.version} at ${found.path}`);

  const scratch = join(root, ".vdb-tools", "nats-server-download");
  const failures = [];
  for (const [origin, fetchBinary] of [
    ["GitHub", fetchFromGitHub],
    ["the Debian mirror", fetchFromNewerSuite],
  ]) {
    rmSync(scratch, { recursive: true, force: true });
    mkdirSync(scratch, { recursive: true });
    const result = await fetchBinary(scratch);
    const refusal = result.binary === undefined ? result.failure : install(result.binary, root);
    rmSync(scratch, { recursive: true, force: true });
    if (refusal === undefined) {
      const { path, version } = findNatsServer({ root });
      return say("nats-server", `${version} installed from ${origin} to ${path}`);
    }
    say("nats-server", `not from ${origin}: ${refusal}`);
    failures.push(`${origin}: ${refusal}`);
  }
  throw new SetupError(
    `no nats-server ${natsServerVersionMin} or newer. Install one on PATH (https://github.com/nats-io/nats-server/releases)` +
      ` or set VDB_NATS_SERVER to its path, then run npm run setup again.\n${failures.join("\n")}`,
  );
}

function findOrExplain(root) {
  try {
    return findNatsServer({ root });
  } catch (error) {
    throw new SetupError(error.message);
  }
}

/** Puts a checked binary in its place in one step, so that a reader never sees half of one. */
function install(binary, root) {
  chmodSync(binary, 0o755);
  const { refusal } = inspectNatsServer(binary);
  if (refusal !== undefined) return refusal;
  const target = installedNatsServerPath(root);
  mkdirSync(dirname(target), { recursive: true });
  copyFileSync(binary, `${target}.new`);
  chmodSync(`${target}.new`, 0o755);
  renameSync(`${target}.new`, target);
  return undefined;
}

/** Names the release archive for a platform in Node's terms, or nothing when no release is built for it. */
export function releaseArchiveName({ platform, arch, version = natsServerRelease }) {
  const systems = { linux: "linux", darwin: "darwin", freebsd: "freebsd", win32: "windows" };
  const processors = { x64: "amd64", arm64: "arm64", arm: "arm7", ia32: "386", s390x: "s390x", ppc64: "ppc64le" };
  const system = systems[platform];
  const processor = processors[arch];
  if (system === undefined || processor === undefined) return undefined;
  return `nats-server-v${version}-${system}-${processor}.${platform === "win32" ? "zip" : "tar.gz"}`;
}

/** Finds a file's checksum in the text `sha256sum` writes: hex, two blanks or blank and star, name. */
export function readChecksum(text, fileName) {
  for (const line of text.split("\n")) {
    const match = /^([0-9a-f]{64})\s+\*?(.+?)\s*$/i.exec(line);
    if (match && basename(match[2]) === fileName) return match[1].toLowerCase();
  }
  return undefined;
}

async function fetchFromGitHub(scratch) {
  const archive = releaseArchiveName({ platform: process.platform, arch: process.arch });
  if (archive === undefined) return { failure: `no release for ${process.platform} ${process.arch}` };

  const sumsFile = join(scratch, "SHA256SUMS");
  // The small file goes first: it tells in seconds whether GitHub answers at all.
  const sumsFailure = await download(`${releaseUrl}/SHA256SUMS`, sumsFile, 15_000);
  if (sumsFailure !== undefined) return { failure: sumsFailure };
  const expected = readChecksum(readFileSync(sumsFile, "utf8"), archive);
  if (expected === undefined) return { failure: `SHA256SUMS does not list ${archive}` };

  say("nats-server", `downloading ${archive}`);
  const archiveFile = join(scratch, archive);
  const failure = await download(`${releaseUrl}/${archive}`, archiveFile, 90_000);
  if (failure !== undefined) return { failure };
  const actual = createHash("sha256").update(readFileSync(archiveFile)).digest("hex");
  if (actual !== expected) return { failure: `${archive} has SHA-256 ${actual}, the release says ${expected}` };

  // Windows ships a tar that reads zip files too.
  const unpacked = run("tar", ["-xf", archiveFile, "-C", scratch]);
  if (!unpacked.ok) return { failure: `tar: ${lastLines(unpacked.output, 2)}` };
  const folder = archive.replace(/\.(zip|tar\.gz)$/, "");
  return { binary: join(scratch, folder, process.platform === "win32" ? "nats-server.exe" : "nats-server") };
}

/** Downloads a file; returns the reason for a failure. curl comes first because it knows about proxies. */
async function download(url, target, timeoutMs) {
  if (onPath("curl").length > 0) {
    const limits = ["--connect-timeout", "5", "--max-time", String(timeoutMs / 1000)];
    const result = run("curl", ["-fsSL", ...limits, "-o", target, url], { timeoutMs: timeoutMs + 5_000 });
    return result.ok ? undefined : lastLines(result.output, 1);
  }
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs) });
    if (!response.ok) return `${url} answered ${response.status}`;
    writeFileSync(target, Buffer.from(await response.arrayBuffer()));
    return undefined;
  } catch (error) {
    return `${url}: ${error.cause?.message ?? error.message}`;
  }
}

async function fetchFromNewerSuite(scratch) {
  if (!hasApt() || !existsSync("/etc/os-release")) return { failure: "this machine has no apt" };
  const osRelease = readFileSync("/etc/os-release", "utf8");
  const codename = readOsRelease(osRelease, "VERSION_CODENAME") ?? "";
  const system = readOsRelease(osRelease, "ID") ?? "";
  const files = readAptSources();

  const failures = [];
  for (const suite of new Set([codename, ...(newerSuites[system] ?? [])])) {
    const source = deriveSuiteSource(files, { codename, suite });
    if (source === undefined) return { failure: `apt has no source for ${codename}` };
    const result = fetchFromSuite(join(scratch, suite), source);
    if (result.binary !== undefined) return result;
    say("nats-server", `refused the ${suite} package: ${result.failure}`);
    failures.push(suite);
  }
  return { failure: `no suitable package in ${failures.join(", ")}` };
}

function fetchFromSuite(folder, source) {
  const apt = privateApt(folder, source);
  const update = apt("apt-get", ["update"]);
  const policy = apt("apt-cache", ["policy", "nats-server"]);
  const candidate = /Candidate: (\S+)/.exec(policy.stdout)?.[1];
  if (candidate === undefined || candidate === "(none)") {
    return { failure: update.ok ? "it has no nats-server" : lastLines(update.output, 1) };
  }
  const refusal = refuseNatsServerVersion(parseNatsServerVersion(candidate));
  if (refusal !== undefined) return { failure: refusal };
  say("nats-server", `downloading package ${candidate}`);
  const failure = unpackPackages(apt, ["nats-server"], { scratch: folder, target: join(folder, "files") });
  if (failure !== undefined) return { failure };
  const binary = ["usr/sbin", "usr/bin"].map((at) => join(folder, "files", at, "nats-server")).find(existsSync);
  return binary === undefined ? { failure: "the package has no nats-server binary" } : { binary };
}
