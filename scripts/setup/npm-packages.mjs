/** The Node version and the npm packages, both as package.json and package-lock.json ask for. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { lastLines, run, SetupError, say } from "./process.mjs";

const nodeVersionMin = [20, 15];

/** @throws SetupError when this Node is too old. */
export function checkNodeVersion(version = process.versions.node) {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major < nodeVersionMin[0] || (major === nodeVersionMin[0] && minor < nodeVersionMin[1])) {
    throw new SetupError(`Node ${version} is too old: install Node ${nodeVersionMin.join(".")} or newer`);
  }
}

/**
 * Runs `npm ci` unless node_modules holds what package-lock.json says. No install scripts: faiss-node's downloads from
 * GitHub and hangs where that is blocked.
 * @throws SetupError with npm's own words when npm fails.
 */
export function setupNpmPackages(root) {
  const lockFile = join(root, "package-lock.json");
  if (!existsSync(lockFile)) throw new SetupError("package-lock.json is missing: restore it from git");
  const wanted = readPackages(lockFile);
  // npm writes this file last, so an interrupted installation does not count.
  const installedFile = join(root, "node_modules", ".package-lock.json");
  const installed = existsSync(installedFile) ? readPackages(installedFile) : {};
  if (matchesLock(wanted, installed)) return say("npm packages", `${Object.keys(installed).length} installed`);

  say("npm packages", "installing (npm ci)");
  const started = performance.now();
  let result = npm(root, ["ci"]);
  if (!result.ok && /Missing: .* from lock file/.test(result.output)) {
    // npm calls the lock file incomplete when the registry lacks an optional package of another platform.
    say("npm packages", "npm ci does not accept the lock file with this registry, trying npm install");
    result = npm(root, ["install", "--no-save"]);
  }
  if (!result.ok) throw new SetupError(`npm cannot install the packages:\n${npmErrors(result.output)}`);
  say("npm packages", `installed in ${((performance.now() - started) / 1000).toFixed(1)} s`);
}

function npm(root, command) {
  const args = [...command, "--ignore-scripts", "--include=dev", "--no-audit", "--no-fund"];
  const options = { cwd: root, timeoutMs: 170_000 };
  const script = process.env.npm_execpath;
  const isNpm = script !== undefined && /npm-cli\.js$/.test(script);
  if (isNpm) return run(process.execPath, [script, ...args], options);
  return run("npm", args, { ...options, shell: process.platform === "win32" });
}

/** npm puts the reason first and its usage after it; a program that could not start prints neither. */
function npmErrors(output) {
  const errors = output.split("\n").filter((line) => /^npm error ./.test(line));
  return errors.length > 0 ? errors.slice(0, 10).join("\n") : lastLines(output);
}

function readPackages(path) {
  const { packages } = JSON.parse(readFileSync(path, "utf8"));
  delete packages[""];
  return packages;
}

/**
 * Compares the lock file's packages with the ones npm noted in node_modules, both by path. Optional ones may be absent
 * or extra: they are other platforms' binaries.
 */
export function matchesLock(wanted, installed) {
  const isOptional = (entry) => entry.optional === true || entry.devOptional === true;
  const isAsWanted = ([path, entry]) =>
    installed[path] === undefined ? isOptional(entry) : installed[path].version === entry.version;
  const isKnown = ([path, entry]) => path in wanted || isOptional(entry);
  return Object.entries(wanted).every(isAsWanted) && Object.entries(installed).every(isKnown);
}
