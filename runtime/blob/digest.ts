/**
 * SHA-256 of an object's content as it passes by. Much content is hashed in a thread of its own, since a core does 0.4
 * to 1.6 GB/s and the event loop's has other work; little content on the spot, since the thread is 50 µs away.
 *
 * Owns the thread: one for the process, started when first needed. It shares the memory of what it hashes.
 */
import { createHash } from "node:crypto";
import { Worker } from "node:worker_threads";
import { VdbError } from "../errors.ts";
import { formatDigest } from "./object-layout.ts";

export interface Digest {
  /** Adds bytes after those of earlier calls. They must not change until this resolves. */
  update(bytes: Uint8Array): Promise<void>;
  /** Ends it: the digest of all, as an ObjectRef has it. */
  finish(): Promise<string>;
  /** Ends it without a result; nothing after finish. */
  abandon(): void;
}

interface DigestRequest {
  id: number;
  /** In shared memory. */
  bytes: Uint8Array | null;
  /** Answered by the digest; the id is free then. */
  isEnd: boolean;
}

/** More than this is not hashed on the event loop. */
const HERE_BYTES_MAX = 1 << 20;

/**
 * For content of `bytes` bytes. What it is given must lie in shared memory; either finish or abandon must be called.
 * @throws VdbError unavailable (update and finish) when the thread died
 */
export function startDigest(bytes: number): Digest {
  return bytes <= HERE_BYTES_MAX ? digestHere() : digestInThread();
}

function digestHere(): Digest {
  const hash = createHash("sha256");
  return {
    update: async (bytes) => {
      hash.update(bytes);
    },
    finish: async () => formatDigest(hash.digest()),
    abandon: () => undefined,
  };
}

function digestInThread(): Digest {
  const id = nextId++;
  // A digest stays with its thread: another one would not know what this one has taken in.
  thread ??= startThread();
  const ours = thread;
  let isEnded = false;
  const end = (): Promise<Answer> => {
    isEnded = true;
    return ask(ours, { id, bytes: null, isEnd: true });
  };
  return {
    update: async (bytes) => {
      await ask(ours, { id, bytes, isEnd: false });
    },
    finish: async () => formatDigest(Buffer.from((await end())!)),
    abandon: () => {
      if (!isEnded) end().catch(() => undefined);
    },
  };
}

type Answer = Uint8Array | null;

interface DigestThread {
  worker: Worker;
  /** Who waits for an answer, in order. */
  waiting: { resolve: (answer: Answer) => void; reject: (error: Error) => void }[];
  failure: VdbError | null;
}

let nextId = 0;
let thread: DigestThread | null = null;

function ask({ worker, waiting, failure }: DigestThread, request: DigestRequest): Promise<Answer> {
  if (failure !== null) return Promise.reject(failure);
  return new Promise((resolve, reject) => {
    // It keeps the process alive only while somebody waits for it.
    if (waiting.push({ resolve, reject }) === 1) worker.ref();
    worker.postMessage(request);
  });
}

/** What the thread runs. Text, so that it is the same from the sources and from dist. It answers each request, in order. */
const THREAD = `
const { createHash } = require("node:crypto");
const { parentPort } = require("node:worker_threads");
const hashes = new Map();
parentPort.on("message", ({ id, bytes, isEnd }) => {
  if (!hashes.has(id)) hashes.set(id, createHash("sha256"));
  const hash = hashes.get(id);
  if (bytes !== null) hash.update(bytes);
  if (isEnd) hashes.delete(id);
  parentPort.postMessage(isEnd ? hash.digest() : null);
});
`;

function startThread(): DigestThread {
  const worker = new Worker(THREAD, { eval: true, name: "vdb-digest" });
  const started: DigestThread = { worker, waiting: [], failure: null };
  const fail = (cause: unknown): void => {
    if (thread === started) thread = null;
    started.failure ??= new VdbError("unavailable", "the thread that computes digests died; try again", { cause });
    for (const { reject } of started.waiting.splice(0)) reject(started.failure);
  };
  worker.on("message", (answer: Answer) => {
    started.waiting.shift()!.resolve(answer);
    if (started.waiting.length === 0) worker.unref();
  });
  worker.on("error", fail);
  worker.on("exit", fail);
  worker.unref();
  return started;
}
