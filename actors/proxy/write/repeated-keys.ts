/** An upsert must name each key once: which of two rows should stay? */
import { VdbError } from "../../../runtime/errors.ts";
import type { PrimaryKey } from "../../../runtime/segment/column.ts";
import { columnRows } from "../../../runtime/segment/gather.ts";
import { type KeyColumn, keyAt } from "../../../runtime/segment/keys.ts";

/** @throws VdbError invalid_parameter */
export function refuseRepeatedKeys(keys: KeyColumn): void {
  const seen = new Set<PrimaryKey>();
  for (let row = 0; row < columnRows(keys); row++) {
    const key = keyAt(keys, row);
    if (seen.has(key)) {
      throw new VdbError(
        "invalid_parameter",
        `duplicate primary keys are not allowed in the same batch: row ${row} repeats ${String(key)}`,
        { details: { row } },
      );
    }
    seen.add(key);
  }
}
