import fc from "fast-check";
import { expect, test } from "vitest";
import { evaluateFilter } from "../expr/evaluate.ts";
import { batchOf, type Row, schema } from "../expr/filter-fixture.ts";
import { condition, row } from "../expr/filter-model.ts";
import { planFilter } from "../expr/plan.ts";
import { bitsetRows } from "../segment/bitset.ts";
import { BoundsCollector, mayMatch, type SegmentBounds } from "./segment-bounds.ts";

const NAMES = ["id", "i32", "i64", "d", "s", "ts"];
const FIELDS = schema.fields.filter(({ name }) => NAMES.includes(name));

/** Of rows in two chunks. */
function boundsOf(rows: Row[], missing: string[] = []): SegmentBounds {
  const collector = new BoundsCollector(FIELDS);
  const half = rows.length >> 1;
  collector.add(batchOf(rows.slice(0, half), missing));
  collector.add(batchOf(rows.slice(half), missing));
  return collector.result();
}

test("a segment with a row that matches is never left out", () => {
  fc.assert(
    fc.property(condition, fc.array(row, { minLength: 1, maxLength: 3 }), (filter, rows) => {
      if (!rows.some((each) => filter.test(each) === true)) return;
      expect(mayMatch(planFilter(filter.text, schema).root, boundsOf(rows)), filter.text).toBe(true);
    }),
    { numRuns: 1_000 },
  );
});

const rows: Row[] = [
  { id: 10n, i32: 5n, i64: 2n ** 60n, d: 0.5, s: "banana", ts: 1_000n },
  { id: 20n, i32: 7n, i64: null, d: null, s: "cherry and everything else", ts: null },
];

test.each([
  ["id == 15", true],
  ["id == 21", false],
  ["id in [1, 2, 30]", false],
  ["id in [1, 12]", true],
  ["id > 20", false],
  ["id >= 20", true],
  ["id < 10 or i32 > 7", false],
  ["id < 11 and i32 > 7", false],
  ["not (id > 5)", false],
  ["not (i32 != 6)", true],
  ["i64 > 1152921504606846977", true],
  ["d is null", true],
  ["i32 is null", false],
  ["d is not null", true],
  ["d > 0.5", false],
  ["s < 'banana'", false],
  ["s <= 'banana'", true],
  ["s == 'cherry and everythingness'", true],
  ["s > 'cherry and every'", true],
  ["s >= 'cherry and evez'", false],
  ["s in ['apple', 'date']", false],
  ["s like 'ban%'", true],
  ["s like 'apple%'", false],
  ["s like 'd%'", false],
  ["s like '%x'", true],
  ["ts > ISO '2025-01-01T00:00:00Z'", false],
  ["ts + INTERVAL 'P1M' > ISO '2025-01-01T00:00:00Z'", true],
  ["i8 == 1", true],
  ["nums[0] == 1", true],
])("%s: may match: %s", (filter, may) => {
  expect(mayMatch(planFilter(filter, schema).root, boundsOf(rows))).toBe(may);
});

test("nothing is known of a field that some rows do not have, or of a segment without bounds", () => {
  const root = planFilter("i32 > 100", schema).root;
  expect(mayMatch(root, boundsOf(rows, ["i32"]))).toBe(true);
  expect(mayMatch(root, undefined)).toBe(true);
});

test("a segment of nulls matches nothing but null", () => {
  const nulls = boundsOf([
    { id: 1n, i32: null },
    { id: 2n, i32: null },
  ]);
  expect(mayMatch(planFilter("i32 > 0 or i32 <= 0", schema).root, nulls)).toBe(false);
  expect(mayMatch(planFilter("i32 is null", schema).root, nulls)).toBe(true);
  expect(mayMatch(planFilter("i32 is not null", schema).root, nulls)).toBe(false);
});

test("texts that are longer than what is kept of them are never left out", () => {
  const part = fc.constantFrom("aaaaaaaa", "aaaaaaab", "ä€😀", "\ud800", "\uffff", "");
  const text = fc.tuple(part, part, part, part).map((parts) => parts.join(""));
  const comparison = fc.constantFrom("==", "!=", "<", "<=", ">", ">=");
  fc.assert(
    fc.property(fc.array(text, { minLength: 1, maxLength: 4 }), text, comparison, (texts, constant, sign) => {
      const some = texts.map((s, id) => ({ id: BigInt(id), s }));
      for (const filter of [`s ${sign} {c}`, `not (s ${sign} {c})`, "s in [{c}]", "s like {p}", "not (s like {p})"]) {
        const plan = planFilter(filter, schema, {
          purpose: "query",
          templateValues: { c: constant, p: `${constant}%` },
        });
        const isFound = bitsetRows(evaluateFilter(plan, batchOf(some))).length > 0;
        if (isFound) expect(mayMatch(plan.root, boundsOf(some)), `${filter} ${constant}`).toBe(true);
      }
    }),
    { numRuns: 500 },
  );
});

test("texts of a clustering key are told apart though they begin alike, by as many characters as a path or an id has", () => {
  const fields = FIELDS.filter(({ name }) => name === "s");
  const boundsBy = (isClusteringKey: boolean) => {
    const collector = new BoundsCollector(fields.map((field) => ({ ...field, isClusteringKey })));
    collector.add(
      batchOf(["3", "5"].map((end, id) => ({ id: BigInt(id), s: `${"customers/europe/".repeat(3)}${end}` }))),
    );
    return collector.result();
  };
  const { root } = planFilter(`s == '${"customers/europe/".repeat(3)}7'`, schema);
  expect(mayMatch(root, boundsBy(true))).toBe(false);
  expect(mayMatch(root, boundsBy(false))).toBe(true);
});
