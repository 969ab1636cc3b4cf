import { describe, expect, test } from "vitest";
import type { Clock } from "../clock.ts";
import type { CollectionSchema, Scalar } from "../schema.ts";
import { bitsetRows } from "../segment/bitset.ts";
import { systemClock } from "../system-clock.ts";
import { evaluateFilter, evaluateLongFilter, isLong } from "./evaluate.ts";
import { batchOf, type Row, schema } from "./filter-fixture.ts";
import { planFilter } from "./plan.ts";

/** Indexes of the rows that the filter keeps. */
function keeps(filter: string, rows: Row[], missing: string[] = [], over: CollectionSchema = schema): number[] {
  return [...bitsetRows(evaluateFilter(planFilter(filter, over), batchOf(rows, missing)))];
}

function rowsOf(name: string, values: Row[string][]): Row[] {
  return values.map((value) => ({ [name]: value }));
}

const json = (value: unknown) => JSON.stringify(value);

describe("nulls", () => {
  const rows = rowsOf("i32", [1, null, 3]);

  test.each([
    ["i32 == 1", [0]],
    ["i32 != 1", [2]],
    ["not (i32 == 1)", [2]],
    ["i32 in [1]", [0]],
    ["i32 not in [1]", [2]],
    ["i32 is null", [1]],
    ["i32 is not null", [0, 2]],
    ["i32 == 1 or i32 is null", [0, 1]],
    ["i32 > 0 or i32 < 10", [0, 2]],
    ["i32 == 1 and i32 is null", []],
    ["not (i32 == 1 and i32 is null)", [0, 2]],
    ["i32 not in []", [0, 1, 2]],
    ["i32 in []", []],
    ["", [0, 1, 2]],
  ])("%s", (filter, kept) => {
    expect(keeps(filter, rows)).toEqual(kept);
  });
});

describe("integers are exact", () => {
  const big = 2n ** 53n;
  const rows = rowsOf("i64", [big - 1n, big, big + 1n, -big - 1n, 2n ** 63n - 1n, -(2n ** 63n)]);

  test.each([
    ["i64 == 9007199254740993", [2]],
    ["i64 < 9007199254740993", [0, 1, 3, 5]],
    ["i64 > 9007199254740992", [2, 4]],
    ["i64 in [9007199254740992, -9007199254740993]", [1, 3]],
    ["i64 >= 9223372036854775807", [4]],
    ["i64 <= -9223372036854775808", [5]],
    ["i64 - 1 == 9007199254740992", [2]],
    ["i64 + 1 > 9223372036854775806", [4]],
    ["i64 % 2 == 1", [0, 2, 4]],
    ["i64 / 2 == 4503599627370496", [1, 2]],
    ["i64 < 9007199254740991", [3, 5]],
    ["i64 == id", []],
  ])("%s", (filter, kept) => {
    expect(keeps(filter, rows)).toEqual(kept);
  });

  test("a literal outside a small type is always true or always false, but not for nulls", () => {
    const small = rowsOf("i8", [1, null]);
    expect(keeps("i8 < 1000", small)).toEqual([0]);
    expect(keeps("i8 == 1000", small)).toEqual([]);
    expect(keeps("not (i8 == 1000)", small)).toEqual([0]);
  });

  test("integer division truncates towards zero, division by a float does not", () => {
    const rows32 = rowsOf("i32", [7, -7, 6]);
    expect(keeps("i32 / 2 == 3", rows32)).toEqual([0, 2]);
    expect(keeps("i32 / 2 == -3", rows32)).toEqual([1]);
    expect(keeps("i32 / 2.0 == 3.5", rows32)).toEqual([0]);
    expect(keeps("i32 % 4 == -3", rows32)).toEqual([1]);
  });
});

describe("floats", () => {
  test("a Float column meets its literals as float32", () => {
    expect(keeps("f == 0.1", rowsOf("f", [0.1, 0.2]))).toEqual([0]);
    expect(keeps("f in [0.2, 5]", rowsOf("f", [0.1, 0.2]))).toEqual([1]);
    expect(keeps("reals[0] == 0.1", rowsOf("reals", [[0.1], [0.2]]))).toEqual([0]);
  });

  test("zero has one value", () => {
    expect(keeps("d in [0]", rowsOf("d", [0, -0, 1]))).toEqual([0, 1]);
    expect(keeps("d == -0.0", rowsOf("d", [0, -0, 1]))).toEqual([0, 1]);
  });
});

describe("like", () => {
  const rows = rowsOf("s", ["abc", "abcabc", "", "aéc", "a😀c", "a%c", "A_c", null]);

  test.each([
    ["s like 'abc'", [0]],
    ["s like 'abc%'", [0, 1]],
    ["s like '%abc'", [0, 1]],
    ["s like '%ca%'", [1]],
    ["s like '%'", [0, 1, 2, 3, 4, 5, 6]],
    ["s like ''", [2]],
    ["s like 'a_c'", [0, 3, 4, 5]],
    ["s like 'a\\%c'", [5]],
    ["s like 'A\\_%'", [6]],
    ["s like 'a%b%c'", [0, 1]],
    ["s like '%_'", [0, 1, 3, 4, 5, 6]],
    ["s like '____'", []],
    ["s like '%😀%'", [4]],
    ["not (s like '%c')", [2]],
  ])("%s", (filter, kept) => {
    expect(keeps(filter, rows)).toEqual(kept);
  });

  test("a hit across two rows is none", () => {
    expect(keeps("s like '%bc%'", rowsOf("s", ["ab", "c", "bc", "xbcbcx"]))).toEqual([2, 3]);
  });
});

describe("strings", () => {
  test("order is that of code points", () => {
    // U+FF5E is below U+1F600, though UTF-16 puts it above.
    const rows = rowsOf("s", ["\uff5e", "\u{1f600}", "a", ""]);
    expect(keeps("s > '\uff5e'", rows)).toEqual([1]);
    expect(keeps("s <= 'a'", rows)).toEqual([2, 3]);
    expect(keeps("'a' < s <= '\uff5e'", rows)).toEqual([0]);
  });

  test("columns compare with each other", () => {
    const rows: Row[] = [
      { s: "a", t: "b", i32: 1, i64: 2n },
      { s: "b", t: "b", i32: 3, i64: 2n },
      { s: null, t: "b", i32: 1, i64: null },
    ];
    expect(keeps("s < t", rows)).toEqual([0]);
    expect(keeps("s != t", rows)).toEqual([0]);
    expect(keeps("i32 <= i64", rows)).toEqual([0]);
  });
});

describe("json and dynamic keys", () => {
  const rows = rowsOf("doc", [
    json({ a: 1, b: "x", c: [1, [2, 3], "z"], n: null, o: {}, e: [[], [null]] }),
    json({ a: 1.5, b: 7, c: "no" }),
    json({ a: "1", "k k": { q: true } }),
    json({}),
    null,
    '{"a": 9007199254740993}',
  ]);

  test.each([
    ["doc['a'] == 1", [0]],
    ["doc['a'] != 1", [1, 5]],
    ["not (doc['a'] == 1)", [1, 5]],
    ["doc['a'] > 1", [1, 5]],
    ["1 < doc['a'] < 2", [1]],
    ["doc['a'] == '1'", [2]],
    ["doc['a'] in [1, '1']", [0, 2]],
    ["doc['a'] not in [1, '1']", [1, 5]],
    ["doc['a'] in [1, 1.5]", [0, 1]],
    ["doc['a'] == 9007199254740993", [5]],
    ["doc['a'] == 9007199254740992", []],
    ["doc['a'] in [9007199254740993]", [5]],
    ["doc['a'] + 1 == 2.5", [1]],
    ["doc['a'] % 2 == 1", [0, 5]],
    ["doc['b'] like 'x%'", [0]],
    ["doc['b'] >= 'w'", [0]],
    ["doc['c'][1][0] == 2", [0]],
    ["doc['c'] == [1, [2, 3], 'z']", [0]],
    ["doc['c'] != [1]", [0]],
    ["doc['k k']['q'] == true", [2]],
    ["doc['k k']['q'] != true", []],
    ["exists doc['a']", [0, 1, 2, 5]],
    ["exists doc['n'] or exists doc['o'] or exists doc['e'] or exists doc['zz']", []],
    ["not exists doc['a']", [3]],
    ["doc['a'] is null", [3, 4]],
    ["doc['a'] is not null", [0, 1, 2, 5]],
    ["doc is null", [4]],
    ["json_contains(doc['c'], 1)", [0]],
    ["json_contains(doc['c'], [2, 3])", [0]],
    ["not json_contains(doc['c'], 5)", [0]],
    ["json_contains_all(doc['c'], [1, 'z'])", [0]],
    ["json_contains_any(doc['c'], [5, 'z'])", [0]],
    ["array_length(doc['c']) == 3", [0]],
    ["doc['toString'] is not null", []],
  ])("%s", (filter, kept) => {
    expect(keeps(filter, rows)).toEqual(kept);
  });

  test("a row without dynamic keys has none, which is known", () => {
    const dynamic = rowsOf("$meta", [json({ color: "red" }), json({}), null]);
    expect(keeps("exists color", dynamic)).toEqual([0]);
    expect(keeps("not exists color", dynamic)).toEqual([1, 2]);
    expect(keeps("color is null", dynamic)).toEqual([1, 2]);
    expect(keeps("color != 'blue'", dynamic)).toEqual([0]);
    expect(keeps("not exists color", dynamic, ["$meta"])).toEqual([0, 1, 2]);
  });

  test("whole numbers are reckoned with exactly, also beyond 2^53", () => {
    const docs = rowsOf("doc", ['{"a": 9007199254740993}', '{"a": 9007199254740992}', '{"a": 9007199254740991}']);
    const kept = (filter: string) => keeps(filter, docs);
    expect(kept("doc['a'] % 2 == 1")).toEqual([0, 2]);
    expect(kept("doc['a'] + 1 == 9007199254740994")).toEqual([0]);
    expect(kept("doc['a'] + 2 == 9007199254740993")).toEqual([2]);
    expect(kept("doc['a'] - 9007199254740990 == 3")).toEqual([0]);
    expect(kept("doc['a'] * 3 == 27021597764222979")).toEqual([0]);
    expect(kept("doc['a'] / 2 > 4503599627370495.5")).toEqual([0, 1]);
  });

  test("stored bytes that are not json are corruption", () => {
    expect(() => keeps("doc['a'] == 1", rowsOf("doc", ["{"]))).toThrow("a stored row is not json");
  });

  test("deep nesting does not overflow the stack", () => {
    const deep = `{"a":${"[".repeat(30_000)}${"]".repeat(30_000)}}`;
    expect(keeps("exists doc['a']", rowsOf("doc", [deep]))).toEqual([]);
  });
});

describe("arrays", () => {
  const rows: Row[] = [
    { nums: [1n, 2n, 2n ** 60n], tags: ["a", "b"] },
    { nums: [], tags: [] },
    { nums: null, tags: null },
    { nums: [2n], tags: ["b"] },
  ];

  test.each([
    ["nums[0] == 1", [0]],
    ["nums[0] != 1", [3]],
    ["not (nums[1] == 2)", []],
    ["nums[2] == 1152921504606846976", [0]],
    ["nums[0] + 1 == 3", [3]],
    ["tags[1] like 'b%'", [0]],
    ["tags[0] in ['b', 'c']", [3]],
    ["nums == [2]", [3]],
    ["nums != [2]", [0, 1]],
    ["nums == []", [1]],
    ["tags == ['a', 'b']", [0]],
    ["array_length(nums) >= 1", [0, 3]],
    ["not (array_length(nums) == 0)", [0, 3]],
    ["array_contains(nums, 2)", [0, 3]],
    ["not array_contains(nums, 1)", [1, 3]],
    ["array_contains_all(tags, ['b', 'a'])", [0]],
    ["array_contains_all(tags, [])", [0, 1, 3]],
    ["array_contains_any(tags, ['b', 'z'])", [0, 3]],
    ["array_contains_any(tags, [])", []],
    ["ARRAY_CONTAINS(tags, 'a')", [0]],
    ["nums is null", [2]],
  ])("%s", (filter, kept) => {
    expect(keeps(filter, rows)).toEqual(kept);
  });
});

describe("texts", () => {
  const rows = rowsOf("body", ["the red fox", "red, RED fox!", "fox red", null, "", "a red and a fox"]);

  test.each([
    ["text_match(body, 'red')", [0, 1, 2, 5]],
    ["not text_match(body, 'red')", [4]],
    ["text_match(body, 'red the', minimum_should_match = 2)", [0]],
    ["text_match(body, 'red red', minimum_should_match = 2)", []],
    ["text_match(body, '!?')", []],
    ["phrase_match(body, 'red fox')", [0, 1]],
    ["phrase_match(body, 'red red')", [1]],
    ["phrase_match(body, 'red red', 5)", [1]],
    ["phrase_match(body, 'red fox', 1)", [0, 1]],
    ["phrase_match(body, 'red fox', 2)", [0, 1, 2, 5]],
    ["phrase_match(body, 'red cat', 9)", []],
  ])("%s", (filter, kept) => {
    expect(keeps(filter, rows)).toEqual(kept);
  });
});

describe("timestamps", () => {
  const micros = (iso: string) => BigInt(Date.parse(iso)) * 1_000n;
  const rows = rowsOf("ts", [
    micros("2024-01-31T12:00:00Z"),
    micros("2024-02-29T12:00:00Z") + 1n,
    null,
    2n ** 53n + 1n,
  ]);

  test.each([
    ["ts == ISO '2024-01-31T20:00:00+08:00'", [0]],
    ["ts > ISO '2024-02-29T12:00:00Z'", [1, 3]],
    ["ts + INTERVAL 'P1M' == ISO '2024-02-29T12:00:00Z'", [0]],
    ["ts - INTERVAL 'P1M' > ISO '2024-01-29T12:00:00Z'", [1, 3]],
    ["not (ts + INTERVAL 'P29D' < ISO '2024-02-29T12:00:00Z')", [0, 1, 3]],
    ["ts + INTERVAL 'P999999999D' < ISO '9999-12-31T23:59:59Z'", []],
    ["ts in [ISO '2024-01-31T12:00:00Z', ISO '2025-01-01']", [0]],
    ["ts < ISO '2024-02-01T00:00:00Z' + INTERVAL 'P1D'", [0]],
  ])("%s", (filter, kept) => {
    expect(keeps(filter, rows)).toEqual(kept);
  });
});

describe("a column that was added after the batch", () => {
  const rows = rowsOf("id", [1n, 2n, 3n]);

  test("is null in every row", () => {
    expect(keeps("i32 == 1 or s == 'x' or nums[0] == 1 or doc['a'] == 1", rows, ["i32", "s", "nums", "doc"])).toEqual(
      [],
    );
    expect(
      keeps("i32 is null and s is null and nums is null and doc is null", rows, ["i32", "s", "nums", "doc"]),
    ).toEqual([0, 1, 2]);
    expect(keeps("not (nums == [1]) or not array_contains(nums, 1) or i32 < id", rows, ["i32", "nums"])).toEqual([]);
  });

  test.each<[string, Scalar, string, number[]]>([
    ["i32", 5, "i32 == 5", [0, 1, 2]],
    ["i32", 5, "i32 != 5", []],
    ["i32", 5, "i32 is null", []],
    ["i64", 2n ** 60n, "i64 in [1152921504606846976]", [0, 1, 2]],
    ["f", 0.1, "f == 0.1", [0, 1, 2]],
    ["flag", true, "flag", [0, 1, 2]],
    ["s", "", "s like '%' and s == ''", [0, 1, 2]],
    ["i64", 2, "id < i64", [0]],
    ["ts", 5, "ts < ISO '1970-01-01T00:00:01Z'", [0, 1, 2]],
    ["ts", 5, "ts + INTERVAL 'P1M' < ISO '1970-01-15T00:00:01Z'", []],
    ["body", "a red fox", "text_match(body, 'fox')", [0, 1, 2]],
    ["i64", 2, "i64 <= id", [1, 2]],
    ["i64", 2, "i64 == i64", [0, 1, 2]],
  ])("%s holds its default %s: %s", (name, defaultValue, filter, kept) => {
    const fields = schema.fields.map((field) => (field.name === name ? { ...field, defaultValue } : field));
    expect(keeps(filter, rows, [name], { ...schema, fields })).toEqual(kept);
  });
});

test("a batch without rows keeps none", () => {
  expect(keeps("i32 > 1 or s like '%x%' or nums == [] or doc['a'] == 1", [])).toEqual([]);
});

describe("values that arrays are to hold", () => {
  const count = 4_096;
  const list = (from: number, step: number) => Array.from({ length: count }, (_, i) => from + step * i);

  test("are each looked up once an element, however many they are", () => {
    // Compared one by one they would be billions of comparisons.
    const lists = Array.from({ length: 150 }, (_, r) => (r % 2 === 0 ? list(0, 1) : list(1, 1)));
    const rows = lists.map(
      (numbers, r): Row => ({
        id: BigInt(r),
        nums: numbers,
        tags: numbers.slice(0, 999).map(String),
        doc: JSON.stringify(numbers),
      }),
    );
    const batch = batchOf(rows);
    const held = (text: string, v: unknown[]) => {
      const plan = planFilter(text, schema, { purpose: "query", templateValues: { v } });
      return [...bitsetRows(evaluateFilter(plan, batch))].length;
    };
    expect(held("array_contains_all(nums, {v})", list(0, 1))).toBe(75);
    expect(held("array_contains_all(tags, {v})", list(0, 1).slice(0, 999).map(String))).toBe(75);
    expect(held("json_contains_all(doc, {v})", list(0, 1))).toBe(75);
    expect(held("array_contains_any(nums, {v})", [...list(-count, 1), 0])).toBe(75);
    expect(held("json_contains_any(doc, {v})", [...list(-count, 1), 0])).toBe(75);
  });

  test("count once, whatever they are spelled as, and however often", () => {
    const rows: Row[] = [
      {
        id: 0n,
        reals: [0, 1],
        nums: [3n, 3n, 4n],
        flags: [true, false],
        tags: ["a", "b", "a"],
        doc: "[0, 1, 1, true]",
      },
      { id: 1n, reals: [-0], nums: [3n, 3n], flags: [true], tags: ["a", "a"], doc: "[1, 1]" },
      { id: 2n, reals: null, nums: null, flags: null, tags: null, doc: null },
    ];
    const kept = (text: string) => [...bitsetRows(evaluateFilter(planFilter(text, schema), batchOf(rows)))];
    expect(kept("array_contains_all(reals, [0, -0.0, 0])")).toEqual([0, 1]);
    expect(kept("array_contains_all(reals, [0, 1, 1.0])")).toEqual([0]);
    expect(kept("array_contains_all(nums, [3, 4, 3])")).toEqual([0]);
    expect(kept("not array_contains_all(nums, [3, 4])")).toEqual([1]);
    expect(kept("array_contains_all(flags, [true, false, true])")).toEqual([0]);
    expect(kept("array_contains_all(tags, ['a', 'b'])")).toEqual([0]);
    expect(kept("array_contains_any(tags, ['c', 'b'])")).toEqual([0]);
    expect(kept("json_contains_all(doc, [1, 1.0, 1])")).toEqual([0, 1]);
    expect(kept("json_contains_all(doc, [1, true, 0])")).toEqual([0]);
    expect(kept("not json_contains_any(doc, [true])")).toEqual([1]);
  });
});

describe("a chunk of long texts", () => {
  const text = (i: number) => `${"ab".repeat(1_000)}${i}`;
  const rows = Array.from(
    { length: 1_000 },
    (_, i): Row => ({
      id: BigInt(i),
      i32: i,
      s: i % 7 === 0 ? null : text(i),
      doc: JSON.stringify({ n: i, t: text(i) }),
    }),
  );
  const batch = batchOf(rows);

  test.each([
    "s like '%b_b_99%'",
    "s like '%ab99%' or i32 < 5",
    "not (s like '%b_b__1') and doc['n'] > 500",
    "doc['t'] like 'ab%7' and s in ['x', 'y']",
    "s is null or doc['n'] in [3, 4]",
  ])("is evaluated in turns, to the same rows: %s", async (filter) => {
    let turns = 0;
    let ms = 0;
    const busy: Clock = {
      ...systemClock,
      monotonic: () => (ms += 3),
      yield: async () => void turns++,
    };
    const plan = planFilter(filter, schema);
    expect(isLong(plan, batch)).toBe(true);
    const found = await evaluateLongFilter(plan, batch, {}, { clock: busy });
    expect([...bitsetRows(found)]).toEqual([...bitsetRows(evaluateFilter(plan, batch))]);
    expect(turns).toBeGreaterThan(1);
    await expect(evaluateLongFilter(plan, batch, {}, { clock: busy, deadline: ms + 10 })).rejects.toMatchObject({
      code: 10001,
    });
  });

  test("takes one turn where its texts are hardly looked at", () => {
    for (const filter of ["s == 'x' and i32 > 3", "s is null", "id in [1, 2]"])
      expect(isLong(planFilter(filter, schema), batch)).toBe(false);
  });
});
