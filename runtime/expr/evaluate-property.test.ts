/** Random filters over random rows, against an interpreter that reads one row at a time (filter-model.ts). */
import fc from "fast-check";
import { expect, test } from "vitest";
import { decode, encode } from "../protocol/codec.ts";
import { bitsetRows } from "../segment/bitset.ts";
import { evaluateFilter } from "./evaluate.ts";
import { batchOf, type Row, schema } from "./filter-fixture.ts";
import { type Condition, condition, leaf, not, row } from "./filter-model.ts";
import { type FilterPlan, planFilter } from "./plan.ts";

const NULLABLE = ["flag", "i8", "i64", "d", "s", "doc", "nums", "tags", "$meta", "ts", "body", "flags"];

function check(filter: Condition, rows: Row[], missing: string[]): void {
  const plan = decode(encode(planFilter(filter.text, schema))) as FilterPlan;
  const kept = [...bitsetRows(evaluateFilter(plan, batchOf(rows, missing)))];
  const nulls = Object.fromEntries(missing.map((name) => [name, null]));
  const wanted = rows.flatMap((each, r) => (filter.test({ ...each, ...nulls }) === true ? [r] : []));
  expect(kept, filter.text).toEqual(wanted);
}

test("a filter keeps exactly the rows that a row-by-row interpreter keeps", () => {
  fc.assert(fc.property(condition, fc.array(row, { maxLength: 70 }), fc.subarray(NULLABLE, { maxLength: 2 }), check), {
    numRuns: 400,
  });
});

test("each kind of condition alone, also negated, keeps what the interpreter keeps", () => {
  const alone = leaf.chain((item) =>
    fc.constantFrom(item, { text: `not (${item.text})`, test: (r: Row) => not(item.test(r)) }),
  );
  fc.assert(fc.property(alone, fc.array(row, { minLength: 20, maxLength: 40 }), fc.constant<string[]>([]), check), {
    numRuns: 1_000,
  });
});
