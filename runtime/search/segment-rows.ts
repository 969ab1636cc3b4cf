/** Which rows of a segment that does not grow a read may find, as one bitset: found once for as long as it stays true. */
import type { FilterPlan } from "../expr/plan.ts";
import { type AllowedRows, stateOf } from "../scalar-index/kept-rows.ts";
import { cacheOf } from "../scalar-index/segment-cache.ts";
import type { PresentRows } from "../segment/present-rows.ts";
import type { Segment } from "../segment/segment.ts";
import { takeTurn } from "../turns.ts";
import { planKey } from "./allowed-rows.ts";
import { allowedChunks, joinedRows, type ReadOptions } from "./scan-segment.ts";

/** No plan's key is so short. */
const NO_FILTER = "-";

/** Of an index that has the rows alone that have a vector of a field. */
export interface IndexedRows {
  readonly fieldId: number;
  readonly present: PresentRows;
}

/**
 * Null: all rows. What comes back is shared: not to be changed.
 * @param indexed the rows that come back are its index's, by the numbers that they have there
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
  // Many short searches in a row must let the event loop breathe.
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
