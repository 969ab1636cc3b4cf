import { describe, expect, test } from "vitest";
import { isVdbError, type VdbError } from "../errors.ts";
import { decode, encode } from "../protocol/codec.ts";
import { schema, withoutDynamic } from "./filter-fixture.ts";
import { planFilter, primaryKeysOf } from "./plan.ts";

const QUERY = { purpose: "query" } as const;

function refusalOf(plan: () => unknown): VdbError {
  try {
    plan();
  } catch (error) {
    if (isVdbError(error, "invalid_parameter")) return error;
    throw error;
  }
  throw new Error("the filter is accepted");
}

describe("what does not fit the schema is refused", () => {
  test.each([
    ["i32 == 1.5", "cannot cast"],
    ["i32 == 'x'", "cannot cast"],
    ["i64 in [1, 'x']", "cannot cast"],
    ["i64 in [1, 2.5]", "cannot cast"],
    ["s == 1", "cannot cast"],
    ["s in ['a', 1]", "cannot cast"],
    ["flag == 1", "cannot cast"],
    ["flag > true", "no order"],
    ["d == 'x'", "cannot cast"],
    ["i64 == 9223372036854775808", "does not fit in 64 bits"],
    ["i32 + 1 == 2.5", "cannot cast"],
    ["'a' == 1", "comparisons between VarChar and Int64 are not supported"],
    ["s == i32", "comparisons between VarChar and Int32 are not supported"],
    ["doc['a'] == i32", "only scalar columns can be compared"],
    ["i32", "predicate is not a boolean expression: i32"],
    ["i32 + 1", "predicate is not a boolean expression: i32 + 1"],
    ["doc['a']", "predicate is not a boolean expression: doc['a']"],
    ["i32 and flag", "'and' can only be used between boolean expressions"],
    ["true and flag", "a literal true or false cannot be combined"],
    ["flag or 1 == 1", "a literal true or false cannot be combined"],
    ["not i32 > 1", "'not' can only be applied on a boolean expression"],
    ["(i32 > 1) == true", "boolean expressions cannot be compared"],
    ["-i32 > 1", "unary '-' can only be applied on a numeric constant"],
    ["5 < i32 < 1", "invalid range: lowerbound is greater than upperbound"],
    ["1 < i32 < 1", "invalid range: lowerbound is greater than upperbound"],
    ["1 < i32 < 'x'", "comparisons between Int64 and VarChar"],
    ["i8 < i32 < 5", "expected a constant, got i8"],
    ["true < flag < true", "no order"],
    ["nums == 1", "can not comparisons array fields directly"],
    ["nums > [1]", "can not comparisons array fields directly"],
    ["1 < nums < 2", "can not comparisons array fields directly"],
    ["nums == ['x']", "cannot cast"],
    ["nums['x'] == 1", "can only be accessed with one integer index"],
    ["nums[0][1] == 1", "can only be accessed with one integer index"],
    ["nums[0] == 'x'", "cannot cast"],
    ["nums[0] is null", "not supported on array elements"],
    ["i32[0] == 1", "has no parts"],
    ["vec == 1", "vector field vec cannot be compared"],
    ["vec is null", "IsNull/IsNotNull operations are not supported on vector fields"],
    ["i32 + i8 == 1", "not supported to do arithmetic operations between multiple fields"],
    ["i32 + 1 + 1 == 3", "complicated arithmetic operations are not supported"],
    ["1 - i32 == 3", "needs the field on its left side"],
    ["i32 / 0 == 1", "cannot divide by zero"],
    ["i32 % 0 == 1", "cannot divide by zero"],
    ["i32 == 1 / 0", "cannot divide by zero"],
    ["d % 2 == 1", "'%' can only be used on integers"],
    ["i32 ** 2 == 4", "power can only apply on constants"],
    ["i64 == 2 ** 64", "integer arithmetic overflows"],
    ["i64 == 2 ** 1000000000", "integer arithmetic overflows"],
    ["s + 1 == 2", "can only be used between a numeric field"],
    ["s like 5", "'like' needs a string"],
    ["i32 like 'x'", "like operation on non-string or no-json field is unsupported"],
    ["s like 'x\\\\'", "cannot end with a single escape"],
    ["exists i32", "exists operations are supported for json"],
    ["exists doc", "exists operations are supported for json"],
    ["1 in [1]", "'in' can only be used on"],
    ["i32 in [i8]", "expected a constant, got i8"],
    ["doc['a'] > [1]", "no order"],
    ["json_contains(i32, 1)", "only supported on json or array fields"],
    ["json_contains(nums, 'x')", "cannot cast"],
    ["array_contains_all(nums, 1)", "must be an array"],
    ["array_contains(nums)", "takes a field and a value"],
    ["array_length(i32) == 1", "only supported on json or array fields"],
    ["array_length(nums) == 1.5", "cannot cast"],
    ["array_length(doc['a']) == 'x'", "cannot cast"],
    ["$meta == 1", "$meta cannot be used as a whole"],
    ["text_match(s, 'x')", 'field "s" does not enable match'],
    ["PHRASE_MATCH(s, 'x', 1)", 'field "s" does not enable match'],
    ["text_match(i32, 'x')", "text_match operation on non-string field is unsupported, got: i32"],
    ["text_match(body, 5)", "text_match needs a string, got 5"],
    ["text_match(body)", "text_match takes a field and a text"],
    ["text_match(body, 'x', 1)", "text_match takes a field and a text"],
    ["text_match(body, 'x', minimum_should_match=0)", "should be an integer from 1 to 1000"],
    ["text_match(body, 'x', minimum_should_match=1001)", "should be an integer from 1 to 1000"],
    ["text_match(body, 'x', boost=2)", "text_match has no option boost"],
    ["phrase_match(body, 'x', -1)", "invalid slop value: -1"],
    ["phrase_match(body, 'x', slop=1)", "phrase_match has no option slop"],
    ["random_sample(0.1) and flag", "random_sample can only be the whole filter, or the last operand"],
    ["flag or random_sample(0.1)", "random_sample can only be the whole filter, or the last operand"],
    ["not random_sample(0.1)", "random_sample can only be the whole filter, or the last operand"],
    ["flag and random_sample(0)", "the sample factor should be between 0 and 1"],
    ["random_sample(1.0)", "the sample factor should be between 0 and 1"],
    ["random_sample('x')", "the sample factor should be between 0 and 1"],
    ["random_sample()", "random_sample takes one number"],
    ["st_within(s, 'POINT (1 2)')", "spatial operation are only supported on geometry fields now, got: s"],
    ["ST_DWITHIN(s, 'POINT (1 2)', 5)", "spatial operation are only supported on geometry fields now, got: s"],
    ["st_within(place, 'POINT')", "invalid geometry WKT: POINT at line 1, column 18"],
    ["st_within(place, 'CIRCLE (1 2)')", "invalid geometry WKT: CIRCLE (1 2)"],
    ["st_within(place, 5)", "st_within needs a geometry as well-known text, got 5"],
    ["st_within(place)", "st_within takes a field and a geometry"],
    ["st_within(place, 'POINT (1 2)', 3)", "st_within takes a field and a geometry"],
    ["st_within(place, 'POINT (1 2)', slop = 3)", "st_within has no option slop"],
    ["st_dwithin(place, 'POINT (1 2)')", "st_dwithin takes a field, a point"],
    ["st_dwithin(place, 'LINESTRING (1 2, 3 4)', 5)", "st_dwithin measures from a POINT, got LINESTRING"],
    ["st_dwithin(place, 'POINT EMPTY', 5)", "st_dwithin measures from a POINT, got POINT EMPTY"],
    ["st_dwithin(place, 'POINT (1 2)', -5)", "distance parameter must be non-negative, got: -5"],
    ["st_dwithin(place, 'POINT (1 2)', 'far')", "distance parameter must be a numeric value"],
    ["st_disjoint(place, 'POINT (1 2)')", "function st_disjoint is not known"],
    ["place == 'POINT (1 2)'", "geometry field place cannot be compared"],
    ["i64 > iso '2025-01-01'", "cannot cast value to Int64"],
    ["doc['a'] > iso '2025-01-01'", "timestamps can only be compared with Timestamptz fields"],
    ["ts > 5", "cannot cast value to Timestamptz"],
    ["ts > iso 'yesterday'", "invalid timestamp 'yesterday'"],
    ["ts > '2025-02-30'", "invalid timestamp '2025-02-30'"],
    ["ts + interval '1 day' > iso '2025-01-01'", "invalid interval '1 day'"],
    ["ts + 5 > iso '2025-01-01'", "can only be used between a numeric field"],
    ["i64 + interval 'P1D' > 5", "can only be added to or taken from a Timestamptz field"],
    ["ts * interval 'P1D' > iso '2025-01-01'", "can only be added to or taken from a timestamp"],
    ["ts + interval 'P1D' + interval 'P1D' > iso '2025-01-01'", "complicated arithmetic operations"],
    ["ts + interval 'P1D' > 'x'", "invalid timestamp 'x'"],
    ["array_length(nums, x=1) == 1", "array_length has no option x"],
    ["shout(s)", "function shout is not known"],
    ["i32 & 1 == 1", "BitAnd is not supported"],
    ["(i32 | 1) == 1", "BitOr is not supported"],
    ["i32 << 1 == 1", "shift is not supported"],
    ["~i32 == 1", "BitNot is not supported"],
  ])("%s", (text, fragment) => {
    const error = refusalOf(() => planFilter(text, schema, QUERY));
    expect(error.message).toContain(fragment);
    expect(error.message).toMatch(/ at line 1, column \d+$/);
    expect(error.message.startsWith(`failed to create query plan: cannot parse expression: ${text}, error: `)).toBe(
      true,
    );
  });

  test("the column is that of the part at fault", () => {
    expect(refusalOf(() => planFilter("flag and (i32 == 'x')", schema, QUERY)).message).toMatch(
      / at line 1, column 18$/,
    );
    expect(refusalOf(() => planFilter("flag and", schema, QUERY)).message).toMatch(/ at line 1, column 9$/);
  });

  test("the line is counted too", () => {
    const error = refusalOf(() => planFilter("flag\nand i32 = 5", schema, QUERY));
    expect(error.message).toMatch(/unexpected '=', equality is written '==', .* at line 2, column 9$/);
    expect(error.details).toEqual({ line: 2, column: 9 });
  });

  test("an endless text is refused unread", () => {
    const error = refusalOf(() => planFilter(`s == '${"x".repeat(5_000_000)}'`, schema, QUERY));
    expect(error.message).toContain("is too long");
  });

  test("an unknown name is refused without dynamic fields, and is a dynamic key with them", () => {
    const error = refusalOf(() => planFilter("id > 1 and nope == 2", withoutDynamic(), QUERY));
    expect(error.message).toContain("cannot parse expression: id > 1 and nope == 2, error: field nope not exist");
    expect(error.code).toBe(1100);
    expect(planFilter("nope == 2", schema).root).toMatchObject({ operand: { fieldId: 115, path: ["nope"] } });
    expect(planFilter("nope['x'][1] == 2", schema).root).toMatchObject({ operand: { path: ["nope", "x", 1] } });
    expect(planFilter("$meta['i32'] == 2", schema).root).toMatchObject({ operand: { path: ["i32"] } });
  });

  test("messages cut very long filters", () => {
    const error = refusalOf(() => planFilter(`s in [${"1, ".repeat(5_000)}]`, schema, QUERY));
    expect(error.message.length).toBeLessThan(1_500);
  });
});

describe("templates", () => {
  const plan = (text: string, templateValues: Record<string, unknown>) =>
    planFilter(text, schema, { purpose: "query", templateValues });

  test("stand for any constant", () => {
    expect(plan("i32 > {x}", { x: 5 }).root).toEqual(planFilter("i32 > 5", schema).root);
    expect(plan("i64 in {x}", { x: [1, 2n] }).root).toEqual(planFilter("i64 in [1, 2]", schema).root);
    expect(plan("s like {x}", { x: "a%" }).root).toEqual(planFilter("s like 'a%'", schema).root);
    expect(plan("d + {x} < 2", { x: 1.5 }).root).toEqual(planFilter("d + 1.5 < 2", schema).root);
    expect(plan("array_contains_any(tags, {x})", { x: ["a"] }).root).toEqual(
      planFilter("array_contains_any(tags, ['a'])", schema).root,
    );
  });

  test("missing or unusable values are refused", () => {
    expect(refusalOf(() => plan("i32 > {x}", {})).message).toContain(
      "the value of expression template variable name {x} is not found",
    );
    expect(refusalOf(() => plan("i32 > {toString}", {})).message).toContain("is not found");
    expect(refusalOf(() => plan("i32 > {x}", { x: { a: 1 } })).message).toContain("must be a bool, number");
    expect(refusalOf(() => plan("i32 > {x}", { x: "5" })).message).toContain("cannot cast");
    expect(refusalOf(() => plan("i32 in {x}", { x: 5 })).message).toContain("needs a list");
  });
});

describe("plans", () => {
  test("name the fields that they read", () => {
    expect(planFilter("s == 'x' and (i32 > 1 or color == 'red') and i8 < i32", schema).fieldIds).toEqual([
      103, 105, 109, 115,
    ]);
    expect(planFilter("", schema).fieldIds).toEqual([]);
  });

  test("are plain data that the codec carries unchanged", () => {
    const text = "i64 in [9223372036854775807, 1] and f < 0.1 and doc['a'] in [1.5, 'x', true] and s like 'a%'";
    const plan = planFilter(text, schema);
    expect(decode(encode(plan))).toEqual(plan);
  });

  test("put cheap clauses first and json last", () => {
    const { root } = planFilter("color == 'red' and s like '%x%' and i32 > 1", schema);
    expect(root.op === "and" && root.items.map((item) => "operand" in item && item.operand.fieldId)).toEqual([
      105, 109, 115,
    ]);
  });

  test("fold constants", () => {
    expect(planFilter("i32 > 2 ** 3 - 10 / 4", schema).root).toMatchObject({ value: 6 });
    expect(planFilter("d > 2 ** -1", schema).root).toMatchObject({ value: 0.5 });
    expect(planFilter("1 < 2", schema).root).toEqual({ op: "constant", value: true });
    expect(planFilter("i32 in []", schema).root).toEqual({ op: "constant", value: false });
    expect(planFilter("i32 not in [] and flag", schema).root).toMatchObject({ op: "compare", value: true });
    expect(planFilter("i64 == -9223372036854775808", schema).root).toMatchObject({ value: -(2n ** 63n) });
  });

  test("blank text is all rows", () => {
    expect(planFilter(" \n", schema).root).toEqual({ op: "constant", value: true });
  });
});

test.each(["i8", "i64", "f", "d", "s", "doc['a']", "nums[0]", "reals[0]", "ts", "flag"])(
  "a long list of %s takes, and is, what a short one does",
  (name) => {
    const numbers = [
      "1",
      "-3",
      "2.0",
      "1.5",
      "-0.0",
      "1e3",
      ".5",
      "123456789012345678",
      "9007199254740993",
      "-9223372036854775808",
    ];
    const values = [...numbers, "'x'", "'it\\'s'", "''", "true", "0x10"];
    const of = (list: string[]) => {
      try {
        const { root } = planFilter(`${name} in [${list}]`, schema);
        return root.op === "in" ? root.values : root;
      } catch (error) {
        return isVdbError(error) ? error.message.replace(/.*error: | at line.*/gs, "") : error;
      }
    };
    for (const value of values) {
      const short = of([value]);
      const many = new Array<string>(40).fill(value);
      expect(of(many), value).toEqual(Array.isArray(short) ? many.map(() => short[0]) : short);
    }
    const template = (given: unknown[]) =>
      planFilter(`${name} in {v}`, schema, { templateValues: { v: given }, purpose: "query" });
    for (const value of [1, -3, 1.5, 9007199254740993n, 5n, "x", true]) {
      const inText = of([typeof value === "string" ? "'x'" : String(value)]);
      if (Array.isArray(inText))
        expect(template([value, value]).root).toMatchObject({ values: [inText[0], inText[0]] });
      else expect(() => template([value, value])).toThrow(String(inText));
    }
  },
);

describe("deletes", () => {
  const plan = (text: string) => planFilter(text, schema, { purpose: "delete" });

  test.each(["", "  ", "1 == 1", "i32 not in []", "true"])("a filter of all rows is refused: '%s'", (text) => {
    expect(refusalOf(() => plan(text)).message).toContain("delete plan can't be empty or always true");
  });

  test("faults name the delete plan", () => {
    expect(refusalOf(() => plan("nope ==")).message).toMatch(
      /^failed to create delete plan: cannot parse expression: nope ==/,
    );
  });

  test("a filter that is exactly the primary key gives the keys, in order and with repeats", () => {
    expect(primaryKeysOf(plan("id == 5"))).toEqual([5]);
    expect(primaryKeysOf(plan("5 == id"))).toEqual([5]);
    expect(primaryKeysOf(plan("id in [3, 1, 3]"))).toEqual([3, 1, 3]);
    expect(primaryKeysOf(plan("id in [9223372036854775807]"))).toEqual([2n ** 63n - 1n]);
  });

  test.each(["id > 5", "id != 5", "id not in [5]", "id == 5 and flag", "i64 == 5", "id + 1 == 5", "id == i64", "flag"])(
    "any other filter gives none: %s",
    (text) => {
      expect(primaryKeysOf(plan(text))).toBeNull();
    },
  );
});

describe("many equals joined by or", () => {
  test("are one list, also of keys, beside what else is joined", () => {
    const plan = (text: string) => planFilter(text, schema);
    const equals = (field: string, values: unknown[]) => values.map((value) => `${field} == ${value}`).join(" or ");
    expect(primaryKeysOf(plan(equals("id", [3, 1, 3, 2])))).toEqual([3, 1, 3, 2]);
    const texts = plan(equals("s", ["'a'", "'b'", "'c'", "'a'"])).root;
    expect(texts).toMatchObject({ op: "in", values: ["a", "b", "c", "a"] });
    const mixed = `${equals("i64", [1, 2, 3, 4])} or i64 + 1 == 9 or ${equals("id", [5, 6])} or i64 != 7`;
    const { root } = plan(mixed);
    const kinds = root.op === "or" ? root.items.map(({ op }) => op) : [];
    expect(kinds).toHaveLength(5);
    expect(kinds.filter((op) => op === "in")).toHaveLength(1);
    expect(primaryKeysOf(plan("id == 1 or id == 2"))).toBeNull();
  });
});

test("a geometry that is too long in the one form is refused", () => {
  const area = `LINESTRING (${"1e20 1,".repeat(40_000)}0 0)`;
  const planned = () => planFilter("st_within(place, {area})", schema, { templateValues: { area }, purpose: "query" });
  expect(planned).toThrow("characters long, at most 524288 are taken");
});
