/**
 * faiss-node, as far as we use it. Loaded by child processes only, and by one thread of each: its class constructors
 * are process-wide, it blocks its thread, leaks 4 * nq * dimension bytes a search, and some FAISS exceptions abort.
 */
import faiss from "faiss-node";
import type { Metric } from "../schema.ts";
import type { IndexSpec } from "./index-params.ts";

export type FaissIndex = faiss.Index;

/** FAISS has no cosine: rows and queries are normalised, then cosine is the inner product. */
export function newFaissIndex(dimension: number, spec: IndexSpec, metric: Metric): FaissIndex {
  const code = metric === "L2" ? faiss.MetricType.METRIC_L2 : faiss.MetricType.METRIC_INNER_PRODUCT;
  return faiss.Index.fromFactory(dimension, factoryString(spec), code);
}

/** @throws Error when FAISS refuses the file */
export function readFaissIndex(path: string): FaissIndex {
  return faiss.Index.read(path);
}

function factoryString({ type, params }: IndexSpec): string {
  switch (type) {
    case "FLAT":
      return "Flat";
    case "HNSW":
      return `HNSW${params.M},Flat`;
    case "IVF_FLAT":
      return `IVF${params.nlist},Flat`;
    case "IVF_SQ8":
      return `IVF${params.nlist},SQ8`;
    case "IVF_PQ":
      // np: no polysemous training, an annealing of 0.1 s a centroid that only Hamming pre-filters (not in use here) profit from.
      return `IVF${params.nlist},PQ${params.m}x${params.nbits}np`;
    default:
      throw new Error(`faiss-node builds no index of type ${type}`);
  }
}

/**
 * The plain arrays that faiss-node wants. An array is made once a length and written over: 0.2 us for 256 numbers
 * where Array.from takes 6 us. What `of` returns is valid until the next call with the same length.
 */
export class NumberArrays {
  readonly #byLength = new Map<number, number[]>();

  of(length: number): number[] {
    let array = this.#byLength.get(length);
    if (array === undefined) {
      // Batches come in a few sizes; should they not, the oldest go, so that no one-off giant stays.
      if (this.#byLength.size >= 16) this.#byLength.clear();
      // Filled with a fraction: V8 then stores plain doubles, not pointers to boxed ones.
      array = new Array<number>(length).fill(0.5);
      this.#byLength.set(length, array);
    }
    return array;
  }
}
