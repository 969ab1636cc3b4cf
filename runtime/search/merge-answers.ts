/** Merges the answers of segments or nodes to a query without a vector. */
import type { Clock } from "../clock.ts";
import { VdbError } from "../errors.ts";
import type { Aggregation, FoundRows, Groups, RowOrder } from "../protocol/values.ts";
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
export async function mergeAnswers(parts: readonly Answer[], asked: Asked, clock: Clock): Promise<Answer> {
  const { order = [], aggregation } = asked;
  const count = parts.reduce((sum, part) => sum + part.count, 0);
  if (aggregation !== undefined) {
    const groups = await mergeGroups(aggregation, groupsOf(parts), clock);
    return { count, rows: null, groups };
  }
  const found = rowsOf(parts, order);
  if (found.length === 0) return { count, rows: null };
  return { count, rows: await mergeRows(found, asked, clock), isOrdered: order.length > 0 };
}

/** @throws VdbError unavailable when a part comes from a node that did not understand the request */
export function groupsOf(parts: readonly Pick<Answer, "groups">[]): Groups[] {
  return parts.map(({ groups }) => {
    if (groups === undefined) throw tooOld("aggregations");
    return groups;
  });
}

/** @throws VdbError unavailable: such a node returned the first rows by key, not in the requested order */
export function rowsOf(parts: readonly Pick<Answer, "rows" | "isOrdered">[], order: RowOrder): FoundRows[] {
  return parts.flatMap(({ rows, isOrdered }) => {
    if (rows === null) return [];
    if (order.length > 0 && isOrdered !== true) throw tooOld("orders");
    return [rows];
  });
}

function tooOld(what: string): VdbError {
  return new VdbError("unavailable", `a node of an older version, which knows no ${what}, serves part of the rows`);
}
