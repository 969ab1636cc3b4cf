/**
 * The peers' npm packages: listed in bench/package.json, installed to .vdb-tools/bench-peers, apart from the project's own.
 * Their install scripts do not run, because they download; hnswlib-node is compiled here instead.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { PROJECT_FOLDER } from "../../runtime/version.ts";

const LISTED = join(PROJECT_FOLDER, "bench");
const INSTALLED = join(PROJECT_FOLDER, ".vdb-tools", "bench-peers");
const FILES = ["package.json", "package-lock.json"];
const require = createRequire(join(INSTALLED, "package.json"));

/** Loads a peer's package; the adapter states its types. */
export function requirePeer<T>(name: string): T {
  return require(name) as T;
}

/** Why a package does not load; undefined when it does. */
export function missingPackage(name: string): string | undefined {
  try {
    require(name);
    return undefined;
  } catch (error) {
    return `the package ${name} does not load: ${(error as Error).message.split("\n")[0]}`;
  }
}

export function versionOf(name: string): string {
  const manifest = JSON.parse(readFileSync(join(INSTALLED, "node_modules", name, "package.json"), "utf8")) as {
    version: string;
  };
  return manifest.version;
}

/** Installs what bench/package.json lists, unless it is there already. @throws Error with npm's last lines. */
export function installPeers(): void {
  if (FILES.every((file) => isSame(join(LISTED, file), join(INSTALLED, file)))) return;
  process.stderr.write("installing the peers' packages to .vdb-tools/bench-peers\n");
  mkdirSync(INSTALLED, { recursive: true });
  const stamp = join(INSTALLED, "package.json");
  rmSync(stamp, { force: true });
  const npmrc = join(PROJECT_FOLDER, ".npmrc");
  if (existsSync(npmrc)) copyFileSync(npmrc, join(INSTALLED, ".npmrc"));
  for (const file of [...FILES].reverse()) copyFileSync(join(LISTED, file), join(INSTALLED, file));
  // Not `npm ci`: it refuses a lock file that lacks another platform's optional binary.
  const failure = run("npm", ["install", "--no-save", "--ignore-scripts"], INSTALLED);
  if (failure !== undefined) {
    rmSync(stamp, { force: true });
    throw new Error(`npm cannot install the peers' packages:\n${failure}`);
  }
  compileHnswlib();
}

/** With the flags that hnswlib's own Python package uses; it has no run-time dispatch of its kernels. */
function compileHnswlib(): void {
  const folder = join(INSTALLED, "node_modules", "hnswlib-node");
  const headers = [join(dirname(dirname(process.execPath)), "include", "node"), "/usr/include/node"];
  const include = headers.find((path) => existsSync(join(path, "node_api.h")));
  if (include === undefined) return;
  const release = join(folder, "build", "Release");
  mkdirSync(release, { recursive: true });
  const args = [
    ...["-std=c++17", "-O3", "-march=native", "-fPIC", "-shared", "-w", "-DNAPI_DISABLE_CPP_EXCEPTIONS"],
    ...["-I", join(INSTALLED, "node_modules", "node-addon-api"), "-I", include],
    ...[join(folder, "src", "addon.cc"), "-o", join(release, "addon.node")],
  ];
  const failure = run(process.env.CXX ?? "g++", args, folder);
  if (failure !== undefined) process.stderr.write(`hnswlib-node does not compile:\n${failure}\n`);
}

/** Runs a program to its end; returns its last output if it failed, else nothing. */
function run(program: string, args: string[], folder: string): string | undefined {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd: folder,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 600_000,
  });
  if (status === 0) return undefined;
  return [stdout, stderr, error?.message].filter(Boolean).join("\n").trim().split("\n").slice(-6).join("\n");
}

function isSame(a: string, b: string): boolean {
  return existsSync(b) && readFileSync(a, "utf8") === readFileSync(b, "utf8");
}
