/** The rows of a sealed segment that a read may find, as one bitset: computed once, and kept while it stays true. */
import type { FilterPlan } from "../expr/plan.ts";
import { type AllowedRows, stateOf } from "../scalar-index/kept-rows.ts";
import { cacheOf } from "../scalar-index/segment-cache.ts";
import type { PresentRows } from "../segment/present-rows.ts";
import type { Segment } from "../segment/segment.ts";
import { takeTurn } from "../turns.ts";
import { planKey } from "./allowed-rows.ts";
import { allowedChunks, joinedRows, type ReadOptions } from "./scan-segment.ts";

/** Shorter than any plan's key. */
const NO_FILTER = "-";

/** For an index that has only the rows with a vector in a field. */
export interface IndexedRows {
  readonly fieldId: number;
  readonly present: PresentRows;
}

/**
 * Null: all rows. The result is shared and must not be changed.
 * @param indexed the result is then over its index's rows, with their numbers there
 */
export async function segmentRows(
  segment: Segment,
  options: ReadOptions,
  indexed?: IndexedRows,
): Promise<AllowedRows | null> {
  const filterKey = segment.seesAll(options) ? keyOf(options.filter) : "";
  const key = filterKey === "" || indexed === undefined ? filterKey : `${indexed.fieldId} ${filterKey}`;
  if (key === "") return findRows(segment, options, indexed);
  const { keptRows } = cacheOf(segment);
  const known = keptRows.find(segment, key);
  // Many short searches in a row must not hold the event loop.
  if (known !== undefined && known !== null) await takeTurn(options.clock);
  if (known !== undefined) return known;
  const state = stateOf(segment);
  const rows = await findRows(segment, options, indexed);
  keptRows.keep(segment, state, key, rows);
  return rows;
}

async function findRows(
  segment: Segment,
  options: ReadOptions,
  indexed: IndexedRows | undefined,
): Promise<AllowedRows | null> {
  const rows = joinedRows(await allowedChunks(segment, options), segment.rowCount);
  return rows === null || indexed === undefined ? rows : indexed.present.narrowed(rows.bits);
}

/** Empty: not worth keeping. */
function keyOf(filter: FilterPlan | null): string {
  if (filter === null) return NO_FILTER;
  return filter.sample === undefined ? planKey(filter) : "";
}
