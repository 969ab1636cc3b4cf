/**
 * hnswlib: the library, through hnswlib-node, whose calls take arrays of numbers and hold the calling thread. It builds on
 * one thread; searches on several are workers here, each with a copy of the index, since threads cannot share one.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import type { PeerData } from "./data-sets.ts";
import type { HnswlibJob, HnswlibWorkerData } from "./hnswlib-worker.ts";
import { missingPackage, requirePeer, versionOf } from "./packages.ts";
import { EF_CONSTRUCTION, M, type Peer, type PeerSession, type SearchEffort } from "./peer.ts";

export interface HnswlibIndex {
  initIndex(maxElements: number, m: number, efConstruction: number): void;
  addPoint(point: number[], label: number): void;
  setEf(ef: number): void;
  searchKnn(query: number[], k: number, filter?: (label: number) => boolean): { neighbors: number[] };
  writeIndex(path: string): Promise<boolean>;
  readIndexSync(path: string): void;
}

export interface Hnswlib {
  HierarchicalNSW: new (space: "l2" | "cosine", dimensions: number) => HnswlibIndex;
}

export const hnswlibPeer: Peer = {
  name: "hnswlib",
  describe: () =>
    `hnswlib-node ${versionOf("hnswlib-node")}, f32, compiled with -march=native; build on 1 thread, 2 threads are 2 copies`,
  missing: async () => missingPackage("hnswlib-node"),
  open: async (data) => openHnswlib(data),
};

async function openHnswlib(data: PeerData): Promise<PeerSession> {
  const { dimension, rows, vectors, buckets } = data;
  const { HierarchicalNSW } = requirePeer<Hnswlib>("hnswlib-node");
  const space = data.metric === "L2" ? "l2" : "cosine";
  const index = new HierarchicalNSW(space, dimension);
  const folder = await mkdtemp(join(tmpdir(), "vdb-hnswlib-"));
  const path = join(folder, "index");
  const workers: Worker[] = [];
  let arrays: { of: Float32Array; list: number[][] } | undefined;
  /** The batch in hnswlib-node's form, made once: a program that searches this way has its queries in that form. */
  const asArrays = (queries: Float32Array): number[][] => {
    if (arrays?.of !== queries) {
      const list = Array.from({ length: queries.length / dimension }, (_, q) =>
        Array.from(queries.subarray(q * dimension, (q + 1) * dimension)),
      );
      arrays = { of: queries, list };
    }
    return arrays.list;
  };
  const search = (query: number[], { k, ef, below }: SearchEffort): number[] => {
    index.setEf(Math.max(ef, k));
    return index.searchKnn(query, k, below === undefined ? undefined : (row) => buckets[row]! < below).neighbors;
  };
  return {
    filters: true,
    async buildIndex() {
      index.initIndex(rows, M, EF_CONSTRUCTION);
      for (let row = 0; row < rows; row++) {
        index.addPoint(Array.from(vectors.subarray(row * dimension, (row + 1) * dimension)), row);
      }
    },
    async search(query, effort) {
      return search(Array.from(query), effort);
    },
    async searchMany(queries, { threads, ...effort }) {
      const known = arrays?.of === queries;
      const list = asArrays(queries);
      if (threads === 1) return list.map((query) => search(query, effort));
      if (workers.length === 0) await index.writeIndex(path);
      const sendAll = !known || workers.length < threads;
      while (workers.length < threads) workers.push(await startWorker({ space, dimension, path, buckets }));
      const share = Math.ceil(list.length / threads);
      const parts = await Promise.all(
        workers.map((worker, i) => {
          // They stay with the worker, so that the next round does not copy them.
          const queriesOf = sendAll ? { queries: list.slice(i * share, (i + 1) * share) } : {};
          return ask(worker, { ...queriesOf, effort });
        }),
      );
      return parts.flat();
    },
    async close() {
      await Promise.all(workers.map((worker) => worker.terminate()));
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function startWorker(workerData: HnswlibWorkerData): Promise<Worker> {
  const worker = new Worker(new URL("./hnswlib-worker.js", import.meta.url), { workerData });
  await answer(worker);
  return worker;
}

function ask(worker: Worker, job: HnswlibJob): Promise<number[][]> {
  const found = answer(worker);
  worker.postMessage(job);
  return found;
}

function answer(worker: Worker): Promise<number[][]> {
  return new Promise((resolve, reject) => {
    const settle = () => {
      worker.off("message", onMessage);
      worker.off("error", onError);
    };
    const onMessage = (found: number[][]) => {
      settle();
      resolve(found);
    };
    const onError = (error: Error) => {
      settle();
      reject(error);
    };
    worker.on("message", onMessage);
    worker.on("error", onError);
  });
}
