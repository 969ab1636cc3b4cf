/**
 * Relates geometries in a thread of its own, which the process starts when two of them would hold up its event loop. One
 * pair at a time, in the order of asking; one that takes too long, or too much memory, ends the thread and is refused, and
 * those behind it are asked of another one.
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
  /** Well-known text, without Z and M: the library's reader knows no ZM. */
  row: string;
  other: string;
}

interface Asked {
  request: RelateRequest;
  clock: Clock;
  resolve: (isTrue: boolean) => void;
  reject: (error: VdbError) => void;
}

interface RelateThread {
  worker: Worker;
  waiting: Asked[];
  limit: Disposable | undefined;
  fail: () => void;
}

let thread: RelateThread | undefined;

/** As areRelated. @throws VdbError invalid_parameter when the two cross too often to tell */
export function areRelatedInThread(request: RelateRequest, clock: Clock): Promise<boolean> {
  return new Promise((resolve, reject) => ask({ request, clock, resolve, reject }));
}

function ask(asked: Asked): void {
  thread ??= startThread();
  if (thread.waiting.push(asked) === 1) next(thread);
}

function next(used: RelateThread): void {
  const [first] = used.waiting;
  if (first === undefined) {
    used.worker.unref();
    return;
  }
  used.worker.ref();
  used.limit = first.clock.timer(PAIR_MS_MAX, used.fail);
  used.worker.once("message", (isTrue: boolean) => {
    // It may come when it has been refused already.
    if (used.waiting[0] !== first) return;
    used.limit?.[Symbol.dispose]();
    used.waiting.shift();
    first.resolve(isTrue);
    next(used);
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
  const fail = (): void => {
    if (thread === started) thread = undefined;
    started.limit?.[Symbol.dispose]();
    const [first, ...others] = started.waiting.splice(0);
    first?.reject(
      new VdbError("invalid_parameter", "two geometries cross too often to tell how they lie to each other"),
    );
    for (const other of others) ask(other);
    // That it has ended is known already.
    worker.terminate().catch(() => undefined);
  };
  const started: RelateThread = { worker, waiting: [], limit: undefined, fail };
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
