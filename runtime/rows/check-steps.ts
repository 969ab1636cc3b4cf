/** Checks columns of a write in steps: each text that must be parsed is short, but all of them together are long. */
import type { FieldSchema } from "../schema.ts";
import type { BytesColumn, Column } from "../segment/column.ts";
import { ColumnBuilder } from "../segment/column-builder.ts";
import { columnRows } from "../segment/gather.ts";
import type { Steps } from "../steps.ts";
import { type Place, rowOf } from "./bad-cell.ts";
import { checkColumn } from "./check-column.ts";

/** Bytes of texts read in one step: a millisecond or two. */
const PIECE_BYTES = 65_536;

/** Like checkColumn. @throws VdbError as checkColumn, for the first bad cell */
export function* checkSteps(field: FieldSchema, column: Column, place: Place, zone: string | undefined): Steps<Column> {
  const isText = column.kind === "varchar" && (field.type === "Geometry" || field.type === "Timestamptz");
  const isJson = column.kind === "json" && field.type === "JSON";
  if ((!isText && !isJson) || !isLong(column)) return checkColumn(field, column, place, zone);
  let builder: ColumnBuilder | undefined;
  for (const piece of piecesOf(column, place)) {
    yield;
    const checked = checkColumn(field, piece.column, piece.place, zone);
    // JSON stays as it is.
    if (isJson) continue;
    builder ??= new ColumnBuilder(checked, columnRows(column));
    builder.append(checked, 0, columnRows(checked));
  }
  return builder?.view() ?? column;
}

/** Whether it is more than one piece. */
export function isLong({ bytes }: BytesColumn): boolean {
  return bytes.length > PIECE_BYTES;
}

/** The column in parts of some cells each, with their positions. */
export function* piecesOf(column: BytesColumn, place: Place): Generator<{ column: BytesColumn; place: Place }> {
  const { kind, offsets, bytes } = column;
  const count = offsets.length - 1;
  for (let from = 0; from < count; ) {
    const start = offsets[from]!;
    let to = from + 1;
    while (to < count && offsets[to + 1]! - start <= PIECE_BYTES) to++;
    const first = from;
    yield {
      column: {
        kind,
        offsets: offsets.subarray(from, to + 1).map((offset) => offset - start),
        bytes: bytes.subarray(start, offsets[to]!),
      },
      place: { ...place, rowAt: (cell) => rowOf(place, first + cell) },
    };
    from = to;
  }
}
