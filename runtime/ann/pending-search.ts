/** A search on its way through the engine, and the ways in which it can end. */
import { VdbError } from "../errors.ts";
import type { IndexToLoad, Neighbours } from "./engine.ts";
import type { LoadMessage } from "./host-protocol.ts";

/** An index that the engine regards as loaded. */
export interface Placed {
  key: string;
  index: IndexToLoad;
  memoryBytes: number;
  message: LoadMessage;
  /** How many hosts in a row died while opening it. */
  crashes: number;
}

export interface Search {
  id: number;
  placed: Placed;
  frame: Uint8Array;
  timer?: Disposable;
  /** How many hosts it was sent to. */
  sends: number;
  isSettled: boolean;
  resolve: (found: Neighbours) => void;
  reject: (error: Error) => void;
}

/** Ends a search once; later calls are ignored. */
export function settle(search: Search, outcome: Neighbours | Error): void {
  if (search.isSettled) return;
  search.isSettled = true;
  search.timer?.[Symbol.dispose]();
  if (outcome instanceof Error) search.reject(outcome);
  else search.resolve(outcome);
}

/** Joins the parts of a search, in order, and widens each query's neighbours from kFound to k. */
export function assemble(parts: readonly Neighbours[], nq: number, k: number, kFound: number): Neighbours {
  const rows = new Int32Array(nq * k).fill(-1);
  const distances = new Float32Array(nq * k);
  let query = 0;
  for (const part of parts) {
    for (let start = 0; start < part.rows.length; start += kFound) {
      rows.set(part.rows.subarray(start, start + kFound), query * k);
      distances.set(part.distances.subarray(start, start + kFound), query * k);
      query++;
    }
  }
  return { rows, distances };
}

export function notLoaded(indexKey: string): VdbError {
  return new VdbError("segment_not_loaded", `index ${indexKey} is not loaded`);
}

export function deadlineExceeded(): VdbError {
  return new VdbError("deadline_exceeded", "deadline passed before the index was searched");
}

export function stopped(): VdbError {
  return new VdbError("canceled", "search engine is stopped");
}
