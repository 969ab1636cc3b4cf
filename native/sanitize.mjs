/**
 * `node native/sanitize.mjs`: compiles the addon with the address and undefined-behaviour sanitizers, and runs its tests with
 * it. Their first complaint ends the run. Leaks are not looked for, because Node itself leaks at its end: see soak.mjs.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { compileNative } from "../scripts/setup/native.mjs";
import { run } from "../scripts/setup/process.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const folder = join(root, ".vdb-tools", "native", "sanitized");
const addon = join(folder, "vdb-native.node");
const tests = process.argv.slice(2);

mkdirSync(folder, { recursive: true });
// vptr: node-addon-api's ObjectWrap uses its subclass before that is constructed.
const sanitizers = [
  "-fsanitize=address,undefined",
  "-fno-sanitize=vptr",
  "-fno-sanitize-recover=undefined",
  "-fno-omit-frame-pointer",
];
await compileNative(root, { output: addon, flags: ["-O1", "-g", ...sanitizers] });

// The program itself is not built with them, so their run-time has to be there before anything else.
const libraries = ["libasan.so", "libubsan.so"].map((name) => run("g++", [`-print-file-name=${name}`]).stdout.trim());
const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
const chosen =
  tests.length > 0
    ? tests
    : ["native-engine", "search-engine", "mapped-engine"].map((name) => `runtime/ann/${name}.faiss.test.ts`);
const result = spawnSync(process.execPath, [vitest, "run", "--project", "integration", ...chosen], {
  cwd: root,
  stdio: "inherit",
  env: {
    ...process.env,
    LD_PRELOAD: libraries.join(":"),
    ASAN_OPTIONS: "detect_leaks=0:allocator_may_return_null=1",
    UBSAN_OPTIONS: "print_stacktrace=1",
    VDB_NATIVE_ADDON: addon,
  },
});
process.exitCode = result.status ?? 1;
