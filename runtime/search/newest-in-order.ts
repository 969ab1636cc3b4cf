/**
 * The first rows in an order over several segments, one row for each key: the newest that matches. A segment gives only its
 * first rows; if it has a newer row of some key further down, an older row from another segment would be returned. So segments
 * are asked whether they have newer rows for the keys found, which costs look-ups in their indexes.
 */
import type { Clock } from "../clock.ts";
import type { FilterPlan } from "../expr/plan.ts";
import type { PlanNode } from "../expr/plan-node.ts";
import type { FoundRows, RowOrder } from "../protocol/values.ts";
import type { PrimaryKey } from "../segment/column.ts";
import { columnRows } from "../segment/gather.ts";
import { type KeyColumn, keyAt } from "../segment/keys.ts";
import { takeTurn } from "../turns.ts";
import { gatherFound } from "./merge-rows.ts";
import type { Answer } from "./query-segment.ts";

/** The request to every segment. */
export interface Question {
  filter: FilterPlan | null;
  fieldIds: number[];
  limit: number | null;
  order?: RowOrder | undefined;
}

/** How many times more rows are requested when there were older rows among those received. */
const WIDEN = 4;

/** Rows between two turns: a thousand take some microseconds. */
const SLICE_ROWS = 4_096;

/**
 * @param keyFieldId the primary key's field
 * @param ask the answers of all segments, merged; always at the same snapshot
 */
export async function newestInOrder<Asked extends Question>(
  asked: Asked,
  keyFieldId: number,
  ask: (asked: Asked) => Promise<Answer>,
  clock: Clock,
): Promise<Answer> {
  const { limit } = asked;
  if ((asked.order ?? []).length === 0) return ask(asked);
  for (let wanted = limit; ; wanted = wanted === null ? null : wanted * WIDEN) {
    const answer = await ask({ ...asked, limit: wanted });
    const { rows } = answer;
    if (rows === null) return answer;
    // If fewer came than requested, every segment has given all its rows.
    const isWhole = wanted === null || rows.timestamps.length < wanted;
    const newest = isWhole ? rows : await rowsOfKeys(rows.keys, asked, keyFieldId, ask);
    const kept = await newestOf(rows, newest, limit, clock);
    if (isWhole || kept.length === limit) return { ...answer, rows: picked(rows, kept, asked.fieldIds) };
  }
}

/** The newest row of each of the keys; null: there is none. */
async function rowsOfKeys<Asked extends Question>(
  keys: KeyColumn,
  asked: Asked,
  keyFieldId: number,
  ask: (asked: Asked) => Promise<Answer>,
): Promise<FoundRows | null> {
  const filter = withKeys(asked.filter, keys, keyFieldId);
  return (await ask({ ...asked, filter, fieldIds: [], limit: null, order: undefined })).rows;
}

/**
 * The first `limit` (null: all) of the rows that are the newest of their keys, one per key. @param known the newest row of each
 * key elsewhere
 */
async function newestOf(
  { keys, timestamps }: FoundRows,
  known: FoundRows | null,
  limit: number | null,
  clock: Clock,
): Promise<Uint32Array> {
  const newest = new Map<PrimaryKey, bigint>();
  for (let row = 0; known !== null && row < known.timestamps.length; row++) {
    if (row % SLICE_ROWS === 0) await takeTurn(clock);
    const key = keyAt(known.keys, row);
    const ts = known.timestamps[row]!;
    if (ts > (newest.get(key) ?? -1n)) newest.set(key, ts);
  }
  const kept = new Uint32Array(limit ?? timestamps.length);
  let count = 0;
  for (let row = 0; row < timestamps.length && count < kept.length; row++) {
    if (row % SLICE_ROWS === 0) await takeTurn(clock);
    const key = keyAt(keys, row);
    if (timestamps[row] !== newest.get(key)) continue;
    kept[count++] = row;
    // Two rows of one key and one timestamp are equally new: one stays.
    newest.delete(key);
  }
  return kept.subarray(0, count);
}

/** The rows that match and have one of the keys. */
function withKeys(filter: FilterPlan | null, keys: KeyColumn, fieldId: number): FilterPlan {
  const values = Array.from({ length: columnRows(keys) }, (_, row) => keyAt(keys, row));
  const operand = {
    from: "column" as const,
    fieldId,
    type: keys.kind === "int64" ? ("Int64" as const) : ("VarChar" as const),
  };
  const named: PlanNode = { op: "in", operand, values };
  if (filter === null) return { root: named, fieldIds: [fieldId], primaryFieldId: fieldId };
  return {
    ...filter,
    root: { op: "and", items: [named, filter.root] },
    fieldIds: [...new Set([...filter.fieldIds, fieldId])].sort((a, b) => a - b),
  };
}

function picked(rows: FoundRows, pick: Uint32Array, fieldIds: readonly number[]): FoundRows {
  if (pick.length === rows.timestamps.length) return rows;
  return gatherFound([rows], { sources: new Uint32Array(pick.length), rows: pick }, fieldIds);
}
