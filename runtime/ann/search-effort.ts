/**
 * Search effort as FAISS takes it: efSearch of HNSW, nprobe of IVF, one number a search.
 *
 * In FAISS 1.7 to 1.11 the stopping rule of an HNSW search reads the index's efSearch, not the k of the call (asking
 * for more neighbours does not search wider: measured, recall stays where it was), and faiss-node cannot set efSearch. So
 * a host opens a copy of the file for each effort in use, and efforts come in steps, so that copies are few.
 */
import { defaultEffort, type IndexSpec, type SearchParams } from "./index-params.ts";

/** FAISS's own default; less gains nothing. */
const EF_SEARCH_MIN = 16;

/** The next of 1, 2, 3, 4, 6, 8, 12, 16, 24, 32 ...: at most half more than asked for. */
export function effortStep(effort: number): number {
  let step = 1;
  while (2 * step <= effort) step *= 2;
  if (step >= effort) return step;
  return 1.5 * step >= effort ? 1.5 * step : 2 * step;
}

/** The effort to open an index with, before anybody has searched it. */
export function initialEffort(spec: IndexSpec): number {
  return spec.type === "FLAT" ? 0 : effortStep(defaultEffort(spec));
}

/**
 * The effort of a search: at least what its parameters say, for HNSW also at least k. Not more than a whole graph of `rows` can
 * use, since FAISS allocates by this number.
 */
export function searchEffort(spec: IndexSpec, rows: number, params: SearchParams, k: number): number {
  if (spec.type === "FLAT") return 0;
  if (spec.type !== "HNSW") return effortStep(params.nprobe ?? defaultEffort(spec));
  const wanted = Math.max(params.ef ?? defaultEffort(spec), k);
  return effortStep(Math.max(EF_SEARCH_MIN, Math.min(wanted, rows)));
}
