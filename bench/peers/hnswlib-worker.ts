/** One of hnswlib's search threads: its own copy of the index, and a share of each batch. */
import { parentPort, workerData } from "node:worker_threads";
import type { Hnswlib } from "./hnswlib.ts";
import { requirePeer } from "./packages.ts";
import type { SearchEffort } from "./peer.ts";

export interface HnswlibWorkerData {
  space: "l2" | "cosine";
  dimension: number;
  path: string;
  buckets: Int32Array;
}

export interface HnswlibJob {
  /** Absent: those of the previous job. */
  queries?: number[][];
  effort: SearchEffort;
}

const { space, dimension, path, buckets } = workerData as HnswlibWorkerData;
const { HierarchicalNSW } = requirePeer<Hnswlib>("hnswlib-node");
const index = new HierarchicalNSW(space, dimension);
index.readIndexSync(path);

let current: number[][] = [];

parentPort?.on("message", ({ queries = current, effort: { k, ef, below } }: HnswlibJob) => {
  current = queries;
  index.setEf(Math.max(ef, k));
  const filter = below === undefined ? undefined : (row: number) => buckets[row]! < below;
  parentPort?.postMessage(queries.map((query) => index.searchKnn(query, k, filter).neighbors));
});
parentPort?.postMessage([]);
