/** Primary keys that the database makes. */
import type { FieldSchema } from "../schema.ts";
import { type KeyColumn, varcharColumn } from "../segment/keys.ts";

/** Consecutive ids as keys: numbers, or their decimal text. */
export function keysFrom(first: number, count: number, field: FieldSchema): KeyColumn {
  if (field.type !== "Int64") return varcharColumn(Array.from({ length: count }, (_, i) => String(first + i)));
  const values = new BigInt64Array(count);
  for (let i = 0; i < count; i++) values[i] = BigInt(first + i);
  return { kind: "int64", values };
}
