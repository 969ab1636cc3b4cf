/** Hits as columns, with distances and groups beside the fields, for clients that ask for `resultFormat: "columns"`. */
import type { Clock } from "../../../runtime/clock.ts";
import { parseJson } from "../../../runtime/protocol/public-codec.ts";
import type { SearchHits } from "../../../runtime/protocol/values.ts";
import type { FieldSchema } from "../../../runtime/schema.ts";
import { groupTexts } from "../../../runtime/search/reduce-groups.ts";
import type { BytesColumn, ColumnBatch } from "../../../runtime/segment/column.ts";
import { textReader } from "../../../runtime/segment/text-reader.ts";
import { formatTimestamptz } from "../../../runtime/timestamptz.ts";
import type { ResultRow } from "../columns-to-rows.ts";
import {
  columnsToReply,
  computedColumn,
  type ReplyColumn,
  type ReplyColumns,
  type ReplyRows,
} from "../reply-columns.ts";
import { type Highlighter, highlight } from "./highlight.ts";
import { rounded } from "./settings.ts";
import type { Shown } from "./show-hits.ts";

export interface HitColumns extends ReplyColumns {
  distances: Float32Array;
  /** What each hit is grouped by; Timestamptz as text, paths of JSON as JSON. */
  groupByFieldValue?: ReplyColumn;
  /** By field, the fragments of each hit. */
  highlights?: { fieldName: string; fragments: string[][] }[];
}

/** @param batch the fields asked for, of each hit */
export function hitColumns(
  hits: SearchHits,
  batch: ColumnBatch,
  { output, roundDecimal, groupedBy }: Shown,
): HitColumns {
  const shown: HitColumns = {
    ...columnsToReply(hits.keys, batch, output),
    distances: roundDecimal < 0 ? hits.distances : hits.distances.map((distance) => rounded(distance, roundDecimal)),
  };
  if (groupedBy === undefined) return shown;
  return { ...shown, groupByFieldValue: groupColumn(groupTexts(hits), groupedBy, output.shape?.zone) };
}

function groupColumn(
  texts: readonly string[],
  { name, fieldId, type }: FieldSchema,
  zone: string | undefined,
): ReplyColumn {
  const values = texts.map((text) => {
    const value = parseJson(text);
    if (value === null || type !== "Timestamptz") return value;
    return formatTimestamptz(BigInt(value as number | bigint), zone);
  });
  return { ...computedColumn(name, type === "Timestamptz" ? "VarChar" : type, values), fieldId };
}

/** As `highlight`, of rows in either form. */
export async function highlightReply(
  rows: ReplyRows,
  counts: Uint32Array,
  highlighter: Highlighter,
  clock: Clock,
): Promise<void> {
  if (Array.isArray(rows)) {
    await highlight(rows, counts, highlighter, clock);
    return;
  }
  const names = highlighter.fields.map(({ field }) => field.name);
  const texts = Array.from({ length: rows.rowCount }, (): ResultRow => ({}));
  for (const { name, column } of rows.columns) {
    if (!names.includes(name)) continue;
    const read = textReader(column as BytesColumn);
    texts.forEach((row, i) => {
      row[name] = read(i);
    });
  }
  await highlight(texts, counts, highlighter, clock);
  (rows as HitColumns).highlights = names.map((fieldName) => ({
    fieldName,
    fragments: texts.map((row) => (row.highlight as Record<string, { fragments: string[] }>)[fieldName]!.fragments),
  }));
}
