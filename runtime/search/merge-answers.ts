/** What the segments, or the nodes, of a query without a vector found, as one answer. */
import { VdbError } from "../errors.ts";
import type { Aggregation, RowOrder } from "../protocol/values.ts";
import { mergeGroups } from "./aggregate.ts";
import { mergeRows } from "./merge-rows.ts";
import type { Answer } from "./query-segment.ts";

interface Asked {
  fieldIds: readonly number[];
  limit: number | null;
  order?: RowOrder | undefined;
  aggregation?: Aggregation | undefined;
}

/** @throws VdbError parameter_too_large, unavailable */
export function mergeAnswers(parts: readonly Answer[], { fieldIds, limit, order, aggregation }: Asked): Answer {
  const count = parts.reduce((sum, part) => sum + part.count, 0);
  if (aggregation !== undefined) {
    const groups = parts.map((part) => {
      if (part.groups !== undefined) return part.groups;
      throw new VdbError(
        "unavailable",
        "a node of an older version, which knows no aggregations, serves part of the rows",
      );
    });
    return { count, rows: null, groups: mergeGroups(aggregation, groups) };
  }
  const found = parts.flatMap(({ rows }) => (rows === null ? [] : [rows]));
  return { count, rows: found.length === 0 ? null : mergeRows(found, fieldIds, limit, order) };
}
