/**
 * Relates geometries in a thread of its own, which the process starts when two of them would hold up its event loop. One
 * pair at a time, in the order of asking; one that takes too long, or too much memory, ends the thread and is refused.
 */
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import type { Clock } from "../clock.ts";
import { VdbError } from "../errors.ts";
import type { Relation } from "./relation.ts";

/** Two borders of countries are related in a second. */
const PAIR_MS_MAX = 10_000;

/** Such a pair crosses itself a million times. */
const MEMORY_MB_MAX = 512;

interface RelateRequest {
  relation: Relation;
  /** Well-known text. */
  row: string;
  other: string;
}

interface RelateThread {
  worker: Worker;
  waiting: { request: RelateRequest; resolve: (isTrue: boolean) => void; reject: (error: VdbError) => void }[];
  limit: Disposable | undefined;
}

let thread: RelateThread | undefined;

/** As areRelated. @throws VdbError invalid_parameter when the two cross too often to tell */
export function areRelatedInThread(request: RelateRequest, clock: Clock): Promise<boolean> {
  thread ??= startThread();
  const used = thread;
  return new Promise((resolve, reject) => {
    if (used.waiting.push({ request, resolve, reject }) === 1) next(used, clock);
  });
}

function next(used: RelateThread, clock: Clock): void {
  const [first] = used.waiting;
  if (first === undefined) {
    used.worker.unref();
    return;
  }
  used.worker.ref();
  used.limit = clock.timer(PAIR_MS_MAX, () => void used.worker.terminate());
  used.worker.once("message", (isTrue: boolean) => {
    used.limit?.[Symbol.dispose]();
    used.waiting.shift();
    first.resolve(isTrue);
    next(used, clock);
  });
  used.worker.postMessage(first.request);
}

function startThread(): RelateThread {
  const { resolve } = createRequire(import.meta.url);
  const workerData = Object.fromEntries(
    Object.entries(MODULES).map(([name, path]) => [
      name,
      pathToFileURL(resolve(`jsts/org/locationtech/jts/${path}`)).href,
    ]),
  );
  const worker = new Worker(THREAD, {
    eval: true,
    name: "vdb-relate",
    workerData,
    resourceLimits: { maxOldGenerationSizeMb: MEMORY_MB_MAX },
  });
  const started: RelateThread = { worker, waiting: [], limit: undefined };
  const fail = (): void => {
    if (thread === started) thread = undefined;
    started.limit?.[Symbol.dispose]();
    for (const { reject } of started.waiting.splice(0)) {
      reject(new VdbError("invalid_parameter", "two geometries cross too often to tell how they lie to each other"));
    }
  };
  // Whoever waits is told; the thread's death says no more than that.
  worker.on("error", fail);
  worker.on("exit", fail);
  worker.unref();
  return started;
}

const MODULES = {
  relate: "operation/relate/RelateOp.js",
  union: "operation/union/UnaryUnionOp.js",
  reader: "io/WKTReader.js",
};

/** What the thread runs: as topology.ts has it. Text, so that it is the same from the sources and from dist. */
const THREAD = `
const { parentPort, workerData } = require("node:worker_threads");
const modules = Promise.all([import(workerData.relate), import(workerData.union), import(workerData.reader)]);
parentPort.on("message", async ({ relation, row, other }) => {
  const [{ default: relate }, { default: union }, { default: Reader }] = await modules;
  const shapeOf = (text) => {
    const shape = new Reader().read(text);
    return text.startsWith("GEOMETRYCOLLECTION") ? union.union(shape) : shape;
  };
  let isTrue = false;
  try {
    const a = shapeOf(row);
    const b = shapeOf(other);
    if (relation === "within") isTrue = relate.contains(b, a);
    else isTrue = relation === "equals" ? relate.equalsTopo(a, b) : relate[relation](a, b);
  } catch {}
  parentPort.postMessage(isTrue);
});
`;
