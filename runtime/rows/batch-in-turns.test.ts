import { expect, test } from "vitest";
import type { CollectionSchema, FieldSchema } from "../schema.ts";
import { keysOf } from "../segment/keys.ts";
import { systemClock } from "../system-clock.ts";
import { toBatchInTurns } from "./batch-in-turns.ts";
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
