/** Compiles TypeScript to dist/ when a source is newer than the last build. */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { run, SetupError, say } from "./process.mjs";

const sourceFolders = ["actors", "runtime", "client", "scripts", "bench"];
const configFiles = ["tsconfig.json", "tsconfig.build.json", "package.json"];

/** @throws SetupError with the compiler's messages. */
export function buildProject(root) {
  if (!existsSync(join(root, "tsconfig.build.json"))) return say("build", "skipped: no tsconfig.build.json");
  const sources = listSources(root);
  const stampFile = join(root, "dist", ".stamp");
  if (isUpToDate(root, sources, stampFile)) return say("build", "dist is up to date");

  const started = Date.now();
  const compiler = join(root, "node_modules", "typescript", "bin", "tsc");
  const result = run(process.execPath, [compiler, "-p", "tsconfig.build.json"], { cwd: root, timeoutMs: 170_000 });
  if (!result.ok)
    throw new SetupError(`the build has errors (npx tsc --noEmit shows all):\n${firstLines(result.output)}`);

  // tsc copies no JavaScript, and the runtime shares this module with setup.
  const shared = join("scripts", "setup");
  mkdirSync(join(root, "dist", shared), { recursive: true });
  for (const name of ["find-nats-server.mjs", "find-nats-server.d.mts"]) {
    copyFileSync(join(root, shared, name), join(root, "dist", shared, name));
  }
  const cli = join(root, "dist", "runtime", "cli.js");
  if (existsSync(cli)) chmodSync(cli, 0o755);

  writeFileSync(stampFile, sources.join("\n"));
  // The time the build began: a source saved while it ran is newer and builds again.
  utimesSync(stampFile, started / 1000, started / 1000);
  say("build", `dist built in ${((Date.now() - started) / 1000).toFixed(1)} s`);
}

function firstLines(text, count = 20) {
  return text.split("\n").slice(0, count).join("\n");
}

function listSources(root) {
  const found = sourceFolders
    .filter((folder) => existsSync(join(root, folder)))
    .flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true })
        .filter((name) => /\.m?ts$|find-nats-server\.mjs$/.test(name) && !name.endsWith(".test.ts"))
        .map((name) => join(folder, name)),
    );
  return [...configFiles.filter((name) => existsSync(join(root, name))), ...found].toSorted(byText);
}

const byText = (a, b) => (a < b ? -1 : 1);

/** The stamp lists the sources it was built from, so that a removed one counts as a change. */
function isUpToDate(root, sources, stampFile) {
  if (!existsSync(stampFile) || readFileSync(stampFile, "utf8") !== sources.join("\n")) return false;
  const builtMs = statSync(stampFile).mtimeMs;
  return sources.every((name) => statSync(join(root, name)).mtimeMs <= builtMs);
}
