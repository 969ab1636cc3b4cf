/**
 * `npm run setup`: everything a fresh clone needs, and nothing when it is all there. Runs before node_modules exists,
 * so it and everything under setup/ is plain JavaScript on Node built-ins.
 */
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildProject } from "./setup/build.mjs";
import { setupFaissNode } from "./setup/faiss-node.mjs";
import { setupNative } from "./setup/native.mjs";
import { setupNatsServer } from "./setup/nats-server.mjs";
import { checkNodeVersion, setupNpmPackages } from "./setup/npm-packages.mjs";
import { SetupError, say } from "./setup/process.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const started = performance.now();
try {
  checkNodeVersion();
  setupNpmPackages(root);
  setupFaissNode(root);
  await setupNative(root);
  await setupNatsServer(root);
  buildProject(root);
  say("done", `in ${((performance.now() - started) / 1000).toFixed(1)} s`);
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(`setup failed: ${error.message}`);
  process.exitCode = 1;
}
