/**
 * Makes `require("faiss-node")` work. Its own install script downloads from GitHub or clones FAISS, so npm runs no
 * install scripts here; instead: the prebuilt binary when GitHub answers, else its one source file compiled against
 * the system's FAISS and OpenBLAS.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { hasApt, providePackages } from "./apt.mjs";
import { findNodeHeaders, nodeHeaderFolders } from "./node-headers.mjs";
import { isRoot, lastLines, run, SetupError, say } from "./process.mjs";

// OpenBLAS's OpenMP build shares FAISS's thread pool and so obeys OMP_NUM_THREADS and OMP_WAIT_POLICY; its pthread
// build keeps a second pool that spins beside it (measured here: training an OPQ index is 5 to 20 % slower with it).
const libraryPackages = ["libfaiss-dev", "libopenblas0-openmp"];

const faissNames = ["libfaiss.so", "libfaiss.a"];
const openblasVariants = ["openblas-openmp", "openblas-pthread", ""];

const prebuiltTimeoutMs = 30_000;

/** Makes sure faiss-node loads and searches. @throws SetupError with what to install. */
export function setupFaissNode(root) {
  const folder = join(root, "node_modules", "faiss-node");
  const version = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")).version;
  if (!isOutdated(root, folder) && tryFaissNode(root).ok) return say("faiss-node", `${version} loads`);

  rmSync(join(folder, "build"), { recursive: true, force: true });
  const prebuilt = fetchPrebuilt(root, folder);
  if (prebuilt === undefined) return say("faiss-node", `${version} loads, prebuilt binary from GitHub`);
  say("faiss-node", `no prebuilt binary: ${prebuilt}`);

  rmSync(join(folder, "build"), { recursive: true, force: true });
  const seconds = compile(root, folder);
  const result = tryFaissNode(root);
  if (!result.ok) throw new SetupError(`faiss-node was compiled but does not load:\n${lastLines(result.output)}`);
  say("faiss-node", `${version} loads, compiled in ${seconds} s`);
}

/** Loads faiss-node in a child process, because a broken binary may take the process down, and searches with it. */
function tryFaissNode(root) {
  const script = `
    const { IndexFlatL2 } = require("faiss-node");
    const index = new IndexFlatL2(2);
    index.add([0, 0, 3, 4]);
    const { labels, distances } = index.search([3, 3], 1);
    if (labels[0] !== 1 || distances[0] !== 1) throw new Error("a search with faiss-node finds the wrong row");`;
  // The policy the project's own processes run with: idle OpenMP threads sleep instead of spinning.
  const env = { OMP_WAIT_POLICY: "passive" };
  return run(process.execPath, ["-e", script], { cwd: root, env, timeoutMs: 20_000 });
}

/** Downloads the binary that faiss-node's authors publish. Returns the reason for a failure, else nothing. */
function fetchPrebuilt(root, folder) {
  const program = join(root, "node_modules", "prebuild-install", "bin.js");
  const download = run(process.execPath, [program, "--runtime", "napi"], { cwd: folder, timeoutMs: prebuiltTimeoutMs });
  if (!download.ok) return lastLines(download.output, 1).replace(/^prebuild-install warn install /, "");
  const loaded = tryFaissNode(root);
  return loaded.ok
    ? undefined
    : `it does not load: ${/^.*Error: .*$/m.exec(loaded.output)?.[0] ?? lastLines(loaded.output, 1)}`;
}

/** Compiles src/faiss.cc and returns the seconds it took. */
function compile(root, folder) {
  if (process.platform !== "linux") {
    throw new SetupError(
      "faiss-node has no prebuilt binary here and setup compiles it on Linux only: make GitHub reachable, or see" +
        " node_modules/faiss-node/README.md for building it with cmake-js",
    );
  }
  const nodeHeaders = requireNodeHeaders();
  const tools = join(root, ".vdb-tools", "faiss");
  const { compiler, libraries } = provideToolchain(root, tools);

  const started = performance.now();
  const release = join(folder, "build", "Release");
  mkdirSync(release, { recursive: true });
  const source = join(folder, "build", "faiss-node.cc");
  writeFileSync(source, wrapperSource);
  const output = join(release, "faiss-node.node");
  // $ORIGIN keeps a moved project folder working. The old tag, RPATH, counts for the libraries' own libraries too.
  const libraryPaths = libraries.searchPaths.map((path) => (path.startsWith(tools) ? originPath(release, path) : path));
  const args = [
    ...["-std=c++17", "-O3", "-fPIC", "-fopenmp", "-w", "-shared", "-DNAPI_VERSION=6"],
    ...["-I", join(folder, "src"), "-I", join(root, "node_modules", "node-addon-api")],
    ...["-I", nodeHeaders, "-I", libraries.include],
    // Our distance kernels come first and win over the library's own (muldefs): see native/distance-kernels.cc.
    ...["-Wno-psabi", "-Wl,-z,muldefs", source, kernelsPath(root)],
    ...["-o", `${output}.new`, libraries.faiss, libraries.openblas],
    ...["-Wl,--exclude-libs,ALL", "-Wl,--disable-new-dtags", `-Wl,-rpath,${libraryPaths.join(":")}`],
  ];
  const result = run(compiler, args, { timeoutMs: 170_000 });
  if (!result.ok) throw new SetupError(`${compiler} cannot compile faiss-node:\n${lastLines(result.output, 12)}`);
  renameSync(`${output}.new`, output);
  writeFileSync(stampPath(folder), stampOf(root));
  return ((performance.now() - started) / 1000).toFixed(1);
}

function kernelsPath(root) {
  return join(root, "native", "distance-kernels.cc");
}

function stampPath(folder) {
  return join(folder, "build", "Release", "compiled-by-setup");
}

/** What the compiled binary was made from, beyond faiss-node itself: this file's settings and our kernels. */
function stampOf(root) {
  const hash = createHash("sha256");
  for (const path of [kernelsPath(root), fileURLToPath(import.meta.url)]) hash.update(readFileSync(path));
  return hash.digest("hex");
}

/** Whether an earlier setup compiled it from something else. A prebuilt binary is never outdated. */
function isOutdated(root, folder) {
  const stamp = stampPath(folder);
  return existsSync(stamp) && readFileSync(stamp, "utf8") !== stampOf(root);
}

// FAISS before 1.7.4, which Debian 12 has, calls the type only faiss::Index::idx_t.
const wrapperSource = `#include <faiss/Index.h>
#if FAISS_VERSION_MAJOR * 10000 + FAISS_VERSION_MINOR * 100 + FAISS_VERSION_PATCH < 10704
namespace faiss {
using idx_t = Index::idx_t;
}
#endif
#include <faiss.cc>
`;

function originPath(from, to) {
  return `$ORIGIN/${relative(from, to)}`;
}

function findCompiler() {
  return [process.env.CXX, "g++", "c++"].find((name) => name && run(name, ["--version"]).ok);
}

function requireNodeHeaders() {
  const found = findNodeHeaders();
  if (found !== undefined) return found;
  throw new SetupError(
    `faiss-node needs Node's header files (node_api.h), not found in ${nodeHeaderFolders().join(", ")}:` +
      " use a Node from nodejs.org, which has them, or apt-get install libnode-dev",
  );
}

/**
 * Returns the C++ compiler and the libraries' paths, getting Debian packages first for what is missing.
 * @throws SetupError with what to install.
 */
function provideToolchain(root, tools) {
  const find = () => {
    const compiler = findCompiler();
    return { compiler, libraries: compiler && findLibraries(compiler, tools) };
  };
  const present = find();
  if (present.libraries !== undefined) return present;

  const needsCompiler = present.compiler === undefined;
  if (needsCompiler && !(hasApt() && isRoot())) {
    throw new SetupError("faiss-node has to be compiled and needs a C++ compiler: apt-get install g++");
  }
  if (!hasApt()) {
    throw new SetupError(
      "faiss-node has to be compiled and needs FAISS with its headers and OpenBLAS: install them with your package manager",
    );
  }
  const wanted = needsCompiler ? ["g++", ...libraryPackages] : libraryPackages;
  say("faiss-node", `getting packages ${wanted.join(", ")}`);
  providePackages(wanted, { scratch: join(root, ".vdb-tools", "faiss-download"), target: tools });
  const provided = find();
  if (provided.libraries === undefined) {
    throw new SetupError(`the packages ${wanted.join(", ")} are there, but no FAISS or OpenBLAS library is found`);
  }
  return provided;
}

/** Returns the paths a compiler needs, `searchPaths` being where the loader has to look, or nothing. */
function findLibraries(compiler, tools) {
  const multiarch = run(compiler, ["-print-multiarch"]).stdout.trim();
  const prefixes = [join(tools, "usr"), "/usr/local", "/usr"];
  const libraryFolders = (prefix) => [join(prefix, "lib", multiarch), join(prefix, "lib64"), join(prefix, "lib")];
  const findIn = (folders, names) =>
    folders.flatMap((folder) => names.map((name) => join(folder, name))).find((path) => existsSync(path));

  // Headers and library of one prefix: of two versions they would not fit.
  const faissPrefix = prefixes.find(
    (prefix) => existsSync(join(prefix, "include/faiss/Index.h")) && findIn(libraryFolders(prefix), faissNames),
  );
  const openblas = openblasVariants
    .map((variant) => prefixes.flatMap(libraryFolders).map((folder) => join(folder, variant)))
    .map((folders) => findIn(folders, ["libopenblas.so.0", "libopenblas.so"]))
    .find((path) => path !== undefined);
  if (faissPrefix === undefined || openblas === undefined) return undefined;

  const faiss = findIn(libraryFolders(faissPrefix), faissNames);
  // OpenBLAS's own folder first: it also has the libblas and liblapack that a shared FAISS asks for by name.
  const folders = [dirname(openblas), dirname(faiss), join(tools, "usr", "lib", multiarch)];
  const searchPaths = [...new Set(folders)].filter((path) => existsSync(path));
  return { include: join(faissPrefix, "include"), faiss, openblas, searchPaths };
}
