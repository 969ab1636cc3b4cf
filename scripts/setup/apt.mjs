/**
 * Debian packages: installed when root, else unpacked into a project folder, and taken from a newer suite of the
 * machine's own mirror when its own suite is too old. No host name is written here: the mirror is always read from
 * the machine's apt sources.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isRoot, lastLines, onPath, run, SetupError } from "./process.mjs";

const aptTimeoutMs = 120_000;

export function hasApt() {
  return process.platform === "linux" && onPath("apt-get").length > 0 && onPath("dpkg").length > 0;
}

/** Reads one `key=value` of an os-release file. */
export function readOsRelease(text, key) {
  return new RegExp(`^${key}="?([^"\n]*)"?$`, "m").exec(text)?.[1];
}

/**
 * Writes the deb822 entry for `suite` on the mirror that serves `codename`, or nothing when no source serves it.
 * Mirror, key ring and options are kept as they are.
 * @param files `{ name, text }` of apt's source files; a name ending in .sources is deb822, any other is one-line.
 */
export function deriveSuiteSource(files, { codename, suite }) {
  const entries = files.flatMap(({ name, text }) => (name.endsWith(".sources") ? readDeb822(text) : readOneLine(text)));
  const own = entries.find((entry) => {
    const isOn = !/^(no|false|0|off)$/i.test(entry.enabled ?? "yes");
    return isOn && words(entry.types).includes("deb") && words(entry.suites).includes(codename);
  });
  if (!own) return undefined;
  // "Targets: Packages" keeps apt from fetching the descriptions and icons that desktop machines ask for.
  const wanted = { ...own, types: "deb", suites: suite, targets: "Packages" };
  delete wanted.enabled;
  return Object.entries(wanted)
    .map(([key, value]) => `${key}: ${value}\n`)
    .join("");
}

const words = (text = "") => text.split(/\s+/).filter(Boolean);

function readDeb822(text) {
  const uncommented = text.replace(/^#.*\n?/gm, "");
  return uncommented
    .split(/\n\s*\n/)
    .map((stanza) => {
      const entry = {};
      // A field goes on over indented lines: an inline Signed-By key does.
      for (const [, key, value] of stanza.matchAll(/^([\w-]+):[ \t]*(.*(?:\n[ \t].*)*)/gm)) {
        entry[key.toLowerCase()] = value.trimEnd();
      }
      return entry;
    })
    .filter((entry) => entry.types);
}

const oneLineOptions = { arch: "architectures", lang: "languages", target: "targets" };

function readOneLine(text) {
  return text.split("\n").flatMap((line) => {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*([^#]*)/.exec(line);
    if (!match) return [];
    const [, options = "", uris, suites, components] = match;
    const entry = { types: "deb", uris, suites, components: words(components).join(" ") };
    for (const option of words(options)) {
      const [key, value = ""] = option.split(/=(.*)/s);
      entry[oneLineOptions[key] ?? key] = value.replaceAll(",", " ");
    }
    return [entry];
  });
}

/** Reads every source file apt reads. */
export function readAptSources(etc = "/etc/apt") {
  const parts = join(etc, "sources.list.d");
  const names = existsSync(parts) ? readdirSync(parts).filter((name) => /\.(list|sources)$/.test(name)) : [];
  return [join(etc, "sources.list"), ...names.map((name) => join(parts, name))]
    .filter((path) => existsSync(path))
    .map((path) => ({ name: path, text: readFileSync(path, "utf8") }));
}

/**
 * Runs apt-get with lists and caches of its own under `folder`, which needs no root. `source` replaces the machine's
 * sources when given. Installed packages are still the machine's.
 */
export function privateApt(folder, source) {
  for (const name of ["lists/partial", "cache/archives/partial"]) mkdirSync(join(folder, name), { recursive: true });
  const settings = [
    `Dir::State=${folder}`,
    `Dir::State::lists=${join(folder, "lists")}`,
    "Dir::State::status=/var/lib/dpkg/status",
    `Dir::Cache=${join(folder, "cache")}`,
    // Root's apt would otherwise become a user who cannot read a home folder.
    "APT::Sandbox::User=root",
    "Acquire::Languages=none",
    "Acquire::Retries=1",
    "Acquire::http::Timeout=10",
    "Acquire::https::Timeout=10",
  ];
  if (source !== undefined) {
    const sourceFile = join(folder, "suite.sources");
    writeFileSync(sourceFile, source);
    settings.push(`Dir::Etc::sourcelist=${sourceFile}`, "Dir::Etc::sourceparts=/dev/null");
    // Pins against other suites would hide the one asked for.
    settings.push("Dir::Etc::preferences=/dev/null", "Dir::Etc::preferencesparts=/dev/null");
  }
  const options = settings.flatMap((setting) => ["-o", setting]);
  return (program, args, extra = {}) => run(program, [...options, ...args], { timeoutMs: aptTimeoutMs, ...extra });
}

/** Downloads packages with `apt` and unpacks them under `target`. Returns the reason for a failure, else nothing. */
export function unpackPackages(apt, packages, { scratch, target }) {
  const folder = join(scratch, "debs");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const download = apt("apt-get", ["download", ...packages], { cwd: folder });
  if (!download.ok) return lastLines(download.output, 3);
  for (const file of readdirSync(folder)) {
    const unpack = run("dpkg", ["-x", join(folder, file), target]);
    if (!unpack.ok) return `dpkg -x ${file}: ${lastLines(unpack.output, 3)}`;
  }
  rmSync(folder, { recursive: true, force: true });
  return undefined;
}

/**
 * Makes packages available: installs them when root, else unpacks what the machine lacks under `target`.
 * @throws SetupError with the command to run by hand.
 */
export function providePackages(packages, { scratch, target }) {
  const system = (program, args, extra = {}) => run(program, args, { timeoutMs: aptTimeoutMs, ...extra });
  const byHand = `install them yourself: apt-get install ${packages.join(" ")}`;
  const fail = (reason) => new SetupError(`cannot get the packages ${packages.join(", ")}; ${byHand}\n${reason}`);
  const install = ["install", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=60", ...packages];
  if (isRoot()) {
    const attempt = () => system("apt-get", install, { env: { DEBIAN_FRONTEND: "noninteractive" } });
    let result = attempt();
    if (!result.ok && isStale(result.output)) {
      system("apt-get", ["update"]);
      result = attempt();
    }
    if (!result.ok) throw fail(lastLines(result.output));
    return;
  }
  let apt = system;
  let plan = apt("apt-get", ["-s", ...install]);
  let reason = plan.ok ? unpackPackages(apt, plannedPackages(plan.stdout), { scratch, target }) : plan.output;
  if (reason !== undefined && isStale(reason)) {
    apt = privateApt(scratch);
    const update = apt("apt-get", ["update"]);
    plan = apt("apt-get", ["-s", ...install]);
    reason = plan.ok ? unpackPackages(apt, plannedPackages(plan.stdout), { scratch, target }) : update.output;
  }
  rmSync(scratch, { recursive: true, force: true });
  if (reason !== undefined) throw fail(lastLines(reason));
}

/** True when package lists are missing or so old that the mirror no longer has their files. */
function isStale(output) {
  return /Unable to locate|has no installation candidate|not available|Failed to fetch|404/i.test(output);
}

/** Names of the packages a simulated installation would add, dependencies included. */
function plannedPackages(simulation) {
  return [...simulation.matchAll(/^Inst (\S+)/gm)].map((match) => match[1]);
}
