/** Hits as the rows of a reply: keys, distances, groups, and the fields asked for, which are fetched for these hits only. */
import type { Call } from "../../../runtime/bus/bus.ts";
import type { CollectionDoc } from "../../../runtime/protocol/catalog.ts";
import { parseJson, shortestFloat32 } from "../../../runtime/protocol/public-codec.ts";
import type { FieldSchema } from "../../../runtime/schema.ts";
import { groupTexts } from "../../../runtime/search/reduce-groups.ts";
import { formatTimestamptz } from "../../../runtime/timestamptz.ts";
import { takeTurn } from "../../../runtime/turns.ts";
import { columnsToRowsInTurns } from "../columns-to-rows.ts";
import type { ProxyContext } from "../context.ts";
import { fetchFields } from "../fetch-fields.ts";
import { columnsToFetch, type OutputFields, type RowShape } from "../output-fields.ts";
import type { ReplyRows } from "../reply-columns.ts";
import type { Found } from "./find-hits.ts";
import { hitColumns } from "./hit-columns.ts";
import { rounded } from "./settings.ts";

/** Rows shown between two turns: a row takes some microseconds. */
const SLICE_ROWS = 1_024;

export interface Shown {
  output: OutputFields;
  /** -1: distances as they are. */
  roundDecimal: number;
  /** What the hits are grouped by. */
  groupedBy?: FieldSchema | undefined;
}

export interface ShownHits {
  /** Of each query. */
  counts: Uint32Array;
  rows: ReplyRows;
}

/** @throws VdbError segment_not_loaded when rows are no longer where the search found them */
export async function showHits(
  { actor }: ProxyContext,
  collection: CollectionDoc,
  found: Found,
  { output, roundDecimal, groupedBy }: Shown,
  call: Call,
): Promise<ShownHits> {
  const { hits } = found;
  const fieldIds = columnsToFetch(output);
  const batch =
    fieldIds.length === 0
      ? { rowCount: hits.distances.length, columns: {} }
      : await fetchFields(actor, collection, { fieldIds, ...found }, call);
  if (output.shape?.isColumns === true) {
    return { counts: hits.counts, rows: hitColumns(hits, batch, { output, roundDecimal, groupedBy }) };
  }
  const rows = await columnsToRowsInTurns(hits.keys, batch, output, actor.clock);
  for (let i = 0; i < rows.length; i++) {
    if (i % SLICE_ROWS === 0) await takeTurn(actor.clock);
    const distance = shortestFloat32(hits.distances[i]!);
    rows[i]!.distance = roundDecimal < 0 ? distance : rounded(distance, roundDecimal);
  }
  if (groupedBy !== undefined) {
    groupTexts(hits).forEach((text, i) => {
      rows[i]!.groupByFieldValue = groupValue(text, groupedBy, output.shape);
    });
  }
  return { counts: hits.counts, rows };
}

function groupValue(text: string, field: FieldSchema, shape: RowShape | undefined): unknown {
  const value = parseJson(text);
  if (value === null || field.type === "JSON") return value;
  if (field.type === "Timestamptz") return formatTimestamptz(BigInt(value as number | bigint), shape?.zone);
  return field.type === "Int64" && shape?.int64AsText === true ? text : value;
}
