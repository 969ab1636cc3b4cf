import { expect, it } from "vitest";
import type { Column } from "../segment/column.ts";
import { varcharColumn } from "../segment/keys.ts";
import { evaluateFilter } from "./evaluate.ts";
import { type GroupKey, groupsOfRows } from "./group-values.ts";

const json = (texts: string[]): Column => ({ ...varcharColumn(texts), kind: "json" });

function groupsOf(column: Column | undefined, rowCount: number, key: Omit<GroupKey, "fieldId"> = {}): string[] {
  const columns = column === undefined ? {} : { 7: column };
  return groupsOfRows({ rowCount, columns }, { fieldId: 7, ...key });
}

it("a value is its JSON text, a row without one null", () => {
  const valid = Uint32Array.of(0b011);
  expect(groupsOf({ kind: "int64", values: BigInt64Array.of(2n ** 62n, -1n, 0n), valid }, 3)).toEqual([
    "4611686018427387904",
    "-1",
    "null",
  ]);
  expect(groupsOf({ kind: "bool", values: Uint8Array.of(1, 0) }, 2)).toEqual(["true", "false"]);
  expect(groupsOf(varcharColumn(["null", 'a"b', ""]), 3)).toEqual(['"null"', '"a\\"b"', '""']);
});

it("rows that are older than the field are of its default, or null", () => {
  expect(groupsOf(undefined, 2)).toEqual(["null", "null"]);
  expect(groupsOf(undefined, 1, { defaultValue: '"unset"' })).toEqual(['"unset"']);
});

it("values in JSON are told apart by their types; what is no scalar is null", () => {
  const column = json([
    '{"a":{"b":1}}',
    '{"a":{"b":"1"}}',
    '{"a":{"b":[1]}}',
    '{"a":5}',
    "{}",
    '{"a":{"b":9007199254740993}}',
    '{"a":{"b":1000000000000000000000000000001}}',
  ]);
  const key = { path: ["a", "b"] };
  // Beyond 64 bits an integer is a double, as filters have it.
  expect(groupsOf(column, 7, key)).toEqual(["1", '"1"', "null", "null", "null", "9007199254740993", "1e+30"]);
});

it("casts take what can be made one of the type, strict ones what is one", () => {
  const column = json(['{"x":1}', '{"x":1.5}', '{"x":"1"}', '{"x":true}']);
  const cast = (jsonType: GroupKey["jsonType"], isStrictCast: boolean) =>
    groupsOf(column, 4, { path: ["x"], jsonType, isStrictCast });
  expect(cast("Int64", false)).toEqual(["1", "1", "null", "null"]);
  expect(cast("Int64", true)).toEqual(["1", "null", "null", "null"]);
  expect(cast("Double", true)).toEqual(["1", "1.5", "null", "null"]);
  expect(cast("VarChar", false)).toEqual(['"1"', '"1.5"', '"1"', '"true"']);
  expect(cast("VarChar", true)).toEqual(["null", "null", '"1"', "null"]);
  expect(cast("Bool", false)).toEqual(["null", "null", "null", "true"]);
});

it("a filter by groups is never unknown, so that its negation has all other rows", () => {
  const column = json(['{"x":1}', '{"x":"a"}', '{"x":null}']);
  const inGroups = { op: "inGroups" as const, key: { fieldId: 7, path: ["x"] }, groups: ["1", "null"] };
  const batch = { rowCount: 3, columns: { 7: column } };
  const plan = { fieldIds: [7], primaryFieldId: 1 };
  expect(evaluateFilter({ ...plan, root: inGroups }, batch)[0]).toBe(0b101);
  expect(evaluateFilter({ ...plan, root: { op: "not", item: inGroups } }, batch)[0]).toBe(0b010);
});
