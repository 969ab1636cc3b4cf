import { describe, expect, test } from "vitest";
import type { Clock } from "../clock.ts";
import type { VdbError } from "../errors.ts";
import type { CollectionSchema, FieldSchema } from "../schema.ts";
import { keysOf, varcharColumn } from "../segment/keys.ts";
import { systemClock } from "../system-clock.ts";
import { toBatchInTurns } from "./batch-in-turns.ts";
import { givenRows } from "./given-rows.ts";
import { rowsToColumns } from "./rows-to-columns.ts";

const field = (
  fieldId: number,
  name: string,
  type: FieldSchema["type"],
  more: Partial<FieldSchema> = {},
): FieldSchema => ({
  ...{ fieldId, name, type, description: "", isPrimary: false, nullable: false, isDynamic: false },
  ...more,
});

const SCHEMA: CollectionSchema = {
  ...{ version: 1, autoId: false, enableDynamicField: true },
  fields: [
    field(100, "id", "Int64", { isPrimary: true }),
    field(101, "name", "VarChar", { maxLength: 20, nullable: true }),
    field(102, "facts", "JSON"),
    field(103, "list", "Array", { elementType: "VarChar", maxCapacity: 5, maxLength: 5 }),
    field(104, "vec", "FloatVector", { dimension: 2 }),
    field(105, "bits", "BinaryVector", { dimension: 8 }),
    field(106, "sparse", "SparseFloatVector"),
    field(107, "flag", "Bool", { nullable: true }),
    field(108, "$meta", "JSON", { isDynamic: true }),
  ],
};

function rows(count: number) {
  return Array.from({ length: count }, (_, i) => ({
    id: i,
    name: i % 3 === 0 ? null : `name ${i}`,
    facts: { i, text: "x".repeat(i % 50) },
    list: Array.from({ length: i % 5 }, (_, n) => `${n}`),
    vec: [i, 0.5],
    bits: new Uint8Array([i % 256]),
    sparse: { [i]: 0.5, [i + 7]: 1 },
    flag: i % 7 === 0 ? null : i % 2 === 0,
    ...(i % 4 === 0 ? { own: i } : {}),
  }));
}

/** A clock by which each look at it takes a millisecond, and the turns that were taken. */
function slowClock() {
  const seen = { turns: 0, now: 0 };
  return { seen, clock: { ...systemClock, monotonic: () => seen.now++, yield: async () => void seen.turns++ } };
}

test.each([1, 4, 5, 100, 3_000])("%i rows are what a look at all of them makes", async (count) => {
  const given = rows(count);
  const { seen, clock } = slowClock();
  const made = await toBatchInTurns(SCHEMA, { count, rows: given }, { zone: "UTC", clock });
  expect(made).toEqual(rowsToColumns(SCHEMA, given));
  if (count === 3_000) expect(seen.turns).toBeGreaterThan(3);
});

describe("columns", () => {
  const schema: CollectionSchema = {
    ...SCHEMA,
    fields: [
      field(100, "id", "Int64", { isPrimary: true }),
      field(101, "place", "Geometry", { nullable: true }),
      field(102, "facts", "JSON"),
      field(103, "at", "Timestamptz"),
      field(104, "$meta", "JSON", { isDynamic: true }),
    ],
  };
  const count = 1_500;
  const ids = Array.from({ length: count }, (_, i) => i);
  const places = ids.map((i) => (i % 3 === 0 ? null : `point(${i} 1.0)`));
  const facts = ids.map((i) => ({ i, text: "x".repeat(3 * (i % 70)) }));
  const times = ids.map((i) => `2025-01-01T00:00:00.${String(i).padStart(6, "0")}Z`);
  const json = (values: unknown[]) => ({
    ...varcharColumn(values.map((value) => JSON.stringify(value))),
    kind: "json" as const,
  });
  const columnsOf = (given: { places: (string | null)[]; facts: unknown[]; own: unknown[] }) => [
    { name: "id", column: keysOf("int64", ids) },
    {
      name: "place",
      column: varcharColumn(given.places.filter((place) => place !== null)),
      valid: Uint8Array.from(given.places, (place) => Number(place !== null)),
    },
    { name: "facts", column: json(given.facts) },
    { name: "at", column: varcharColumn(times) },
    { name: "$meta", column: json(given.own) },
  ];
  const own = ids.map((i) => ({ own: "y".repeat(3 * (i % 60)) }));
  const make = (given: Parameters<typeof columnsOf>[0], clock: Clock) =>
    toBatchInTurns(schema, givenRows({ columns: columnsOf(given) }), { zone: "UTC", clock });

  test("of long texts are checked in turns, and come out as rows do", async () => {
    const { seen, clock } = slowClock();
    const made = await make({ places, facts, own }, clock);
    const asRows = ids.map((i) => ({ id: i, place: places[i], facts: facts[i], at: times[i], ...own[i] }));
    expect(made).toEqual(rowsToColumns(schema, asRows));
    expect(seen.turns).toBeGreaterThan(1);
  });

  test.each([
    ["place", { places: places.with(1_201, "point(1)"), facts, own }],
    ["facts", { places, facts: facts.with(1_201, { text: "x".repeat(70_000) } as never), own }],
    ["$meta", { places, facts, own: own.with(1_201, 5 as never) }],
  ])("the row of a bad cell of %s is told", async (name, given) => {
    await expect(make(given, systemClock)).rejects.toMatchObject({ details: { row: 1_201, field: name } });
  });

  test("a dynamic column of another kind is refused", async () => {
    const columns = [...columnsOf({ places, facts, own }).slice(0, 4), { name: "$meta", column: keysOf("int64", ids) }];
    const making = toBatchInTurns(schema, givenRows({ columns }), { zone: "UTC", clock: systemClock });
    await expect(making).rejects.toMatchObject({ code: 1804, details: { field: "$meta" } });
  });
});

test("generated keys are those of the rows", async () => {
  const keys = keysOf(
    "int64",
    Array.from({ length: 50 }, (_, i) => 1_000 + i),
  );
  const given = rows(50).map(({ id: _, ...row }) => row);
  const made = await toBatchInTurns(SCHEMA, { count: 50, rows: given }, { keys, zone: "UTC", clock: systemClock });
  expect(made).toEqual(rowsToColumns(SCHEMA, given, keys));
});

test("a bad cell is named as by a look at all rows", async () => {
  const bad: Record<string, unknown>[] = rows(200);
  bad[20]!.facts = undefined;
  bad[150]!.name = 5;
  const making = toBatchInTurns(SCHEMA, { count: 200, rows: bad }, { zone: "UTC", clock: systemClock });
  await expect(making).rejects.toMatchObject({ details: { row: 150, field: "name" } });
});

test.each([
  ["id", "x"],
  ["id", undefined],
  ["name", "x".repeat(30)],
  ["facts", Symbol("s")],
  ["facts", { text: "x".repeat(70_000) }],
  ["list", ["1", null]],
  ["list", ["1", "123456"]],
  ["list", [1]],
  ["vec", [1]],
  ["vec", [1, Number.NaN]],
  ["bits", [256]],
  ["bits", "A"],
  ["sparse", { x: 1 }],
  ["sparse", { 1: -1 }],
  ["sparse", { indices: [1], values: [] }],
  ["own", { text: "x".repeat(70_000) }],
  ["$meta", {}],
])("a bad cell of many rows says what it says of all of them: %s", async (name, cell) => {
  const bad: Record<string, unknown>[] = rows(300);
  bad[211]![name] = cell;
  const { seen, clock } = slowClock();
  const errorOf = async (make: () => unknown) => {
    try {
      await make();
    } catch (error) {
      const { message, details, kind } = error as VdbError;
      return { message, details, kind };
    }
    throw new Error(`${name} is taken`);
  };
  const wanted = await errorOf(() => rowsToColumns(SCHEMA, bad));
  expect(wanted.details?.row).toBe(211);
  const got = await errorOf(() => toBatchInTurns(SCHEMA, { count: 300, rows: bad }, { zone: "UTC", clock }));
  expect(got).toEqual(wanted);
  expect(seen.turns).toBeGreaterThan(1);
});
