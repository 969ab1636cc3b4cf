/** Columns of a write as row objects, for upserts that give only some fields: these are laid over existing rows one by one. */
import { parseJson } from "../../../runtime/protocol/public-codec.ts";
import { columnGiven, refuseUnknown } from "../../../runtime/rows/given-columns.ts";
import type { GivenRows } from "../../../runtime/rows/given-rows.ts";
import type { Row } from "../../../runtime/rows/rows-to-columns.ts";
import type { CollectionSchema } from "../../../runtime/schema.ts";
import { hasBit } from "../../../runtime/segment/bitset.ts";
import { cellReader } from "../columns-to-rows.ts";

/** Of the fields that are given. @param zone of times that name none @throws VdbError as givenToBatch */
export function plainRows(schema: CollectionSchema, given: GivenRows, zone: string): readonly Row[] {
  if ("rows" in given) return given.rows;
  const { columns, rowCount } = given.columns;
  refuseUnknown(schema, given.columns);
  const names = new Set(columns.map(({ name }) => name));
  const rows = Array.from({ length: rowCount }, (): Record<string, unknown> => ({}));
  for (const field of schema.fields) {
    if (!names.has(field.name)) continue;
    const column = columnGiven(schema, field, given.columns, zone);
    const read = cellReader(column);
    const valid = "valid" in column ? column.valid : undefined;
    rows.forEach((row, i) => {
      if (field.isDynamic) Object.assign(row, parseJson(read(i) as string));
      else row[field.name] = valid !== undefined && !hasBit(valid, i) ? null : read(i);
    });
  }
  return rows;
}
