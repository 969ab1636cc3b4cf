/**
 * Compiles the search engine of native/ into .vdb-tools/native/vdb-native.node. Where that cannot be done one line says so
 * and set-up goes on: the database then searches with faiss-node.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { findNodeHeaders } from "./node-headers.mjs";
import { lastLines, run, say } from "./process.mjs";

/** Compilers that run at the same time. */
const JOBS = 2;

/** Sources that belong to faiss-node, not to the addon. */
const NOT_OURS = new Set(["distance-kernels.cc"]);

const baseFlags = ["-std=c++17", "-fPIC", "-ffp-contract=fast", "-fvisibility=hidden", "-DNAPI_VERSION=8"];
const nodeAddonFlags = [
  "-DNAPI_CPP_EXCEPTIONS",
  "-DNODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS",
  "-Wall",
  "-Wextra",
  "-Wno-cast-function-type",
  "-Wno-uninitialized",
];

/** Where the runtime looks for it, too (runtime/ann/native-addon.ts). */
export function nativeAddonPath(root) {
  return join(root, ".vdb-tools", "native", "vdb-native.node");
}

/** Makes sure the addon is there and current, or says why it is not. Never throws. */
export async function setupNative(root) {
  const output = nativeAddonPath(root);
  const stamp = `${output}.compiled-from`;
  try {
    const hash = sourceHash(root);
    const isCurrent = existsSync(output) && existsSync(stamp) && readFileSync(stamp, "utf8") === hash;
    if (isCurrent) return say("native", "search engine is up to date");
    const started = performance.now();
    // Only this ending makes require() load an addon.
    const fresh = output.replace(/\.node$/, "-new.node");
    await compileNative(root, { output: fresh, flags: ["-O3"] });
    const failure = tryAddon(root, fresh);
    if (failure !== undefined) throw new Error(failure);
    renameSync(fresh, output);
    writeFileSync(stamp, hash);
    say("native", `search engine compiled in ${((performance.now() - started) / 1000).toFixed(1)} s`);
  } catch (error) {
    // An old one would not fit the TypeScript that calls it.
    rmSync(output, { force: true });
    const why = lastLines(error instanceof Error ? error.message : String(error), 1);
    say("native", `search engine cannot be compiled, faiss-node is used instead: ${why}`);
  }
}

/**
 * Compiles every source of native/ and links them. Objects are kept beside the output until it is linked.
 * @throws Error with the compiler's messages
 */
export async function compileNative(root, { output, flags }) {
  const compiler = [process.env.CXX, "g++", "c++"].find((name) => name && run(name, ["--version"]).ok);
  if (compiler === undefined) throw new Error("no C++ compiler (apt-get install g++)");
  const headers = findNodeHeaders();
  if (headers === undefined) throw new Error("Node's header files are missing (apt-get install libnode-dev)");
  const objects = `${output}.objects`;
  rmSync(objects, { recursive: true, force: true });
  mkdirSync(objects, { recursive: true });
  try {
    const include = ["-I", join(root, "node_modules", "node-addon-api"), "-isystem", headers];
    const sources = nativeSources(root).filter((name) => name.endsWith(".cc"));
    const waiting = [...sources];
    const compileAll = async () => {
      for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
        const target = ["-c", join(root, "native", name), "-o", join(objects, `${name}.o`)];
        await execute(compiler, [...baseFlags, ...nodeAddonFlags, ...flags, ...include, ...target]);
      }
    };
    await Promise.all(Array.from({ length: JOBS }, compileAll));
    const files = sources.map((name) => join(objects, `${name}.o`));
    await execute(compiler, ["-shared", "-pthread", ...flags, ...files, "-o", output]);
  } finally {
    rmSync(objects, { recursive: true, force: true });
  }
}

function nativeSources(root) {
  return readdirSync(join(root, "native"))
    .filter((name) => /\.(cc|h)$/.test(name) && !NOT_OURS.has(name))
    .toSorted();
}

/** Of all that the binary is made from, and of the Node that it is made for. */
function sourceHash(root) {
  const hash = createHash("sha256").update(`${process.arch} ${process.versions.modules}`);
  const files = nativeSources(root).map((name) => join(root, "native", name));
  for (const path of [...files, fileURLToPath(import.meta.url)])
    hash.update(path.slice(root.length)).update(readFileSync(path));
  return hash.digest("hex");
}

/** Loads the addon in a child process, because a broken binary may take the process down. Returns why it failed. */
function tryAddon(root, path) {
  const script = `
    const { Engine, kernels } = require(${JSON.stringify(path)});
    if (typeof Engine !== "function" || typeof kernels !== "string") throw new Error("the addon has no engine");
    new Engine(1, 1, new Uint32Array(2), () => {}).close();`;
  const loaded = run(process.execPath, ["-e", script], { cwd: root, timeoutMs: 20_000 });
  return loaded.ok ? undefined : (/^.*Error: .*$/m.exec(loaded.output)?.[0] ?? lastLines(loaded.output, 1));
}

function execute(program, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ["ignore", "ignore", "pipe"],
      timeout: 170_000,
      killSignal: "SIGKILL",
    });
    let errors = "";
    child.stderr.setEncoding("utf8").on("data", (text) => {
      errors += text;
    });
    child.once("error", reject);
    child.once("close", (code) => {
      if (code === 0) return resolve();
      // The first error says what is wrong; what follows are consequences.
      reject(new Error(/^.*error: .*$/m.exec(errors)?.[0] ?? lastLines(errors, 1)));
    });
  });
}
