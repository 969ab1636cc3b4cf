/**
 * Indexes of sparse vectors: their names and parameters, as Milvus has them. One exact index stands behind all of them
 * (runtime/sparse/): parameters that choose an algorithm, or trade exactness for speed, are checked and otherwise ignored.
 * `drop_ratio_search` is the one parameter that changes what is found.
 */
import { VdbError } from "../errors.ts";
import type { Metric } from "../schema.ts";
import type { IndexSpec } from "./index-params.ts";

/** SPARSE_WAND is an older name of the other. */
export const SPARSE_INDEX_TYPES = ["SPARSE_INVERTED_INDEX", "SPARSE_WAND"] as const;

type Params = Readonly<Record<string, unknown>>;

const ALGORITHMS = ["DAAT_MAXSCORE", "DAAT_WAND", "TAAT_NAIVE"];

interface Range {
  min: number;
  max: number;
  /** Whether max itself is refused. */
  isOpen?: boolean;
}

const K1: Range = { min: 0, max: 3 };
const B: Range = { min: 0, max: 1 };
const AVERAGE_LENGTH: Range = { min: 1, max: Number.MAX_SAFE_INTEGER };
const RATIO: Range = { min: 0, max: 1, isOpen: true };
const MAX_SCORE_RATIO: Range = { min: 0.5, max: 1.3 };

const KNOWN = ["inverted_index_algo", "bm25_k1", "bm25_b", "bm25_avgdl", "drop_ratio_build"];
/** Keys that clients repeat beside the actual parameters, and those that say where an index is kept. */
const ECHOED = ["index_type", "metric_type", "mmap.enabled", "indexoffsetcache.enabled", "warmup"];

/**
 * @param type one of SPARSE_INDEX_TYPES, or AUTOINDEX
 * @param metric IP or BM25
 * @throws VdbError invalid_parameter
 */
export function checkSparseIndexParams(type: string, metric: Metric, params: Params): IndexSpec {
  for (const name of Object.keys(params)) {
    if (KNOWN.includes(name) || ECHOED.includes(name)) continue;
    throw invalid(name, params[name], `a parameter of index type ${type} (${KNOWN.join(", ")})`);
  }
  const { inverted_index_algo: algorithm } = params;
  if (algorithm !== undefined && !ALGORITHMS.includes(String(algorithm))) {
    throw new VdbError(
      "invalid_parameter",
      `sparse inverted index algo ${String(algorithm)} not found or not supported, supported: [${ALGORITHMS.join(" ")}]`,
    );
  }
  numberIn(params, "drop_ratio_build", RATIO, 0);
  if (metric === "BM25") bm25Params(params);
  return { type: "SPARSE_INVERTED_INDEX", params: {} };
}

/** Checks the parameters of an index with the metric BM25. @throws VdbError invalid_parameter */
export function bm25Params(params: Params): { k1: number; b: number } {
  // The mean length is known exactly here, so its substitute is not needed.
  numberIn(params, "bm25_avgdl", AVERAGE_LENGTH, 100);
  return { k1: numberIn(params, "bm25_k1", K1, 1.2), b: numberIn(params, "bm25_b", B, 0.75) };
}

/** Checks the parameters of a search. @throws VdbError invalid_parameter */
export function checkSparseSearchParams(params: Params): { dropRatio?: number } {
  numberIn(params, "dim_max_score_ratio", MAX_SCORE_RATIO, 1.05);
  const dropRatio = numberIn(params, "drop_ratio_search", RATIO, 0);
  return dropRatio === 0 ? {} : { dropRatio };
}

/** Numbers may come as strings ("1.2"), as Milvus clients send them. */
function numberIn(params: Params, name: string, { min, max, isOpen = false }: Range, fallback: number): number {
  const given = params[name];
  if (given === undefined) return fallback;
  const value = typeof given === "string" && given.trim() !== "" ? Number(given) : given;
  if (typeof value === "number" && value >= min && (isOpen ? value < max : value <= max)) return value;
  throw invalid(name, given, `a number in [${min}, ${max}${isOpen ? ")" : "]"}`);
}

function invalid(parameter: string, given: unknown, allowed: string): VdbError {
  const text = typeof given === "string" || typeof given === "number" ? String(given) : JSON.stringify(given);
  return new VdbError("invalid_parameter", `parameter ${parameter} must be ${allowed}, got ${text}`, {
    details: { parameter, given: text, allowed },
  });
}
