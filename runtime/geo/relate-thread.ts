/**
 * Relates geometries in a thread of its own, which the process starts when two of them would hold up its event loop. It relates
 * one pair at a time, in the order of the requests. A pair that takes too long or too much memory ends the thread and is
 * refused, and those after it go to a new thread; so does a pair that nobody waits for any more.
 */
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { VdbError } from "../errors.ts";
import { assertWanted, type Work } from "../turns.ts";
import type { Relation } from "./relation.ts";

/** Two borders of countries take a second. */
const PAIR_MS_MAX = 10_000;

/** A pair with a million crossings needs this much. */
const MEMORY_MB_MAX = 512;

interface RelateRequest {
  relation: Relation;
  /** Well-known text, without Z and M: the library's reader knows no ZM. */
  row: string;
  other: string;
}

interface Asked {
  request: RelateRequest;
  work: Work;
  resolve: (isTrue: boolean) => void;
  reject: (error: VdbError) => void;
}

interface RelateThread {
  worker: Worker;
  waiting: Asked[];
  limit: Disposable | undefined;
  /** Ends the thread: the caller it worked for is told, the other requests go to a new thread. */
  end: (error: VdbError) => void;
}

let thread: RelateThread | undefined;

/** Like areRelated. @throws VdbError invalid_parameter when the two cross too often to tell, or as assertWanted */
export async function areRelatedInThread(request: RelateRequest, work: Work): Promise<boolean> {
  assertWanted(work);
  const { clock, deadline } = work;
  const signals = [work.signal, work.stopped];
  let look = (): void => {};
  const answer = new Promise<boolean>((resolve, reject) => {
    const asked: Asked = { request, work, resolve, reject };
    look = () => {
      try {
        assertWanted(work);
      } catch (error) {
        giveUp(asked, error as VdbError);
      }
    };
    ask(asked);
  });
  for (const signal of signals) signal?.addEventListener("abort", look);
  // Timers may be early by a part of a millisecond.
  using _timer = deadline === undefined ? undefined : clock.timer(deadline - clock.monotonic() + 1, look);
  try {
    return await answer;
  } finally {
    for (const signal of signals) signal?.removeEventListener("abort", look);
  }
}

function giveUp(asked: Asked, error: VdbError): void {
  const at = thread?.waiting.indexOf(asked) ?? -1;
  if (at === 0) thread!.end(error);
  else if (at > 0) {
    thread!.waiting.splice(at, 1);
    asked.reject(error);
  }
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
  used.limit = first.work.clock.timer(PAIR_MS_MAX, () => used.end(tooLong()));
  used.worker.once("message", (isTrue: boolean) => {
    // The answer may come after the refusal.
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
  const end = (error: VdbError): void => {
    if (thread === started) thread = undefined;
    started.limit?.[Symbol.dispose]();
    const [first, ...others] = started.waiting.splice(0);
    first?.reject(error);
    for (const other of others) ask(other);
    // The end of the thread is known already.
    worker.terminate().catch(() => undefined);
  };
  const started: RelateThread = { worker, waiting: [], limit: undefined, end };
  // The caller is told; the thread's death means no more than that.
  worker.on("error", () => end(tooLong()));
  worker.on("exit", () => end(tooLong()));
  worker.unref();
  return started;
}

function tooLong(): VdbError {
  return new VdbError("invalid_parameter", "two geometries cross too often to tell how they lie to each other");
}

const MODULES = {
  relate: "operation/relate/RelateOp.js",
  union: "operation/union/UnaryUnionOp.js",
  reader: "io/WKTReader.js",
};

/** The thread's program, the same as topology.ts. It is text, so that sources and dist run the same. */
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
