import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isVdbError } from "../errors.ts";
import type { Aggregation, Groups, RowValue } from "../protocol/values.ts";
import type { FieldSchema } from "../schema.ts";
import { systemClock } from "../system-clock.ts";
import { batchOf } from "../testing/column-rows.ts";
import { GROUPS_MAX, GroupTable, mergeGroups } from "./aggregate.ts";

const BASE = { description: "", isPrimary: false, isDynamic: false } as const;
const FIELDS: FieldSchema[] = [
  { ...BASE, fieldId: 101, name: "shop", type: "VarChar", maxLength: 9, nullable: true },
  { ...BASE, fieldId: 102, name: "open", type: "Bool", nullable: false },
  { ...BASE, fieldId: 103, name: "amount", type: "Int64", nullable: true },
  { ...BASE, fieldId: 104, name: "facts", type: "JSON", nullable: false },
];

interface Sale {
  shop: string | null;
  open: boolean;
  amount: bigint | null;
  weight: number | string | null;
}

const AGGREGATION: Aggregation = {
  groupBy: [{ fieldId: 101 }, { fieldId: 102 }],
  functions: [
    { op: "count" },
    { op: "sum", of: { fieldId: 103 } },
    { op: "min", of: { fieldId: 103 } },
    { op: "max", of: { fieldId: 104, path: ["weight"] } },
    { op: "sum", of: { fieldId: 104, path: ["weight"] } },
  ],
};

const sale: fc.Arbitrary<Sale> = fc.record({
  shop: fc.constantFrom("x", "y", "\u{1f600}", "", null),
  open: fc.boolean(),
  amount: fc.option(fc.oneof(fc.bigInt(-5n, 5n), fc.bigInt(-(2n ** 56n), 2n ** 56n))),
  weight: fc.oneof(fc.integer({ min: -9, max: 9 }), fc.constantFrom("heavy", "light", null)),
});

async function groupsOf(sales: readonly Sale[], aggregation = AGGREGATION): Promise<Groups> {
  const table = new GroupTable(aggregation);
  const rows = sales.map(({ shop, open, amount, weight }) => ({
    101: shop,
    102: open,
    103: amount,
    104: JSON.stringify({ weight }),
  }));
  // Every other row is not the read's: what is in between must not count.
  const batch = batchOf(
    FIELDS,
    rows.flatMap((row) => [row, { 101: "no", 102: true, 103: 1n, 104: "{}" }]),
  );
  const rowNumbers = Uint32Array.from(sales, (_, i) => 2 * i);
  await table.addRows(batch, rowNumbers, systemClock);
  return table.groups();
}

/** By the group's values, as text: counts and values. */
function shown({ keys, counts, values, groupCount }: Groups): Record<string, unknown[]> {
  const text = (value: RowValue | undefined) => (typeof value === "bigint" ? `${value}` : value);
  const groups = Array.from({ length: groupCount }, (_, g): [string, unknown[]] => [
    JSON.stringify(keys.map((column) => column[g])),
    counts.map((column, f) => [column[g], text(values[f]![g])]),
  ]);
  return Object.fromEntries(groups);
}

function model(sales: readonly Sale[]): Record<string, unknown[]> {
  const groups = new Map<string, Sale[]>();
  for (const one of sales) {
    const key = JSON.stringify([one.shop, one.open]);
    groups.set(key, [...(groups.get(key) ?? []), one]);
  }
  return Object.fromEntries(
    [...groups].map(([key, members]) => {
      const amounts = members.flatMap(({ amount }) => (amount === null ? [] : [amount]));
      const weights = members.flatMap(({ weight }) => (weight === null ? [] : [weight]));
      const numbers = weights.filter((weight) => typeof weight === "number");
      // Texts are greater than numbers.
      const texts = weights.filter((weight) => typeof weight === "string").sort((a, b) => (a < b ? -1 : 1));
      const none = amounts.length === 0;
      const sum = amounts.reduce((total, amount) => total + amount, 0n);
      const least = amounts.reduce((a, b) => (a < b ? a : b), 2n ** 62n);
      return [
        key,
        [
          [members.length, null],
          [amounts.length, none ? null : plain(sum)],
          [amounts.length, none ? null : plain(least)],
          [weights.length, texts.at(-1) ?? (numbers.length === 0 ? null : Math.max(...numbers))],
          [numbers.length, numbers.length === 0 ? null : numbers.reduce((a, b) => a + b, 0)],
        ],
      ];
    }),
  );
}

/** As a value is kept: a number where that is exact. */
function plain(value: bigint): number | string {
  return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
}

describe("aggregation", () => {
  it("makes of rows what a look at each of them makes, whatever parts they come in", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(sale, { maxLength: 12 }), { maxLength: 4 }), async (parts) => {
        const groups = await Promise.all(parts.map((part) => groupsOf(part)));
        const merged = await mergeGroups(AGGREGATION, groups, systemClock);
        expect(normal(shown(merged))).toEqual(model(parts.flat()));
      }),
    );
  });

  it("has one group of all rows, also of none, when there is nothing to group by", async () => {
    const all: Aggregation = { groupBy: [], functions: [{ op: "count" }, { op: "max", of: { fieldId: 103 } }] };
    expect(shown(await groupsOf([], all))).toEqual({
      "[]": [
        [0, null],
        [0, null],
      ],
    });
    const row: Sale = { shop: null, open: true, amount: 7n, weight: null };
    const parts = await Promise.all([[row], [], [row]].map((part) => groupsOf(part, all)));
    const merged = await mergeGroups(all, parts, systemClock);
    expect(shown(merged)).toEqual({
      "[]": [
        [2, null],
        [2, 7],
      ],
    });
  });

  it("goes on with a double's sum where a 64-bit integer ends", async () => {
    const sum: Aggregation = { groupBy: [], functions: [{ op: "sum", of: { fieldId: 103 } }] };
    const row: Sale = { shop: null, open: true, amount: 2n ** 62n, weight: null };
    expect(shown(await groupsOf([row, row, row], sum))).toEqual({ "[]": [[3, 3 * 2 ** 62]] });
  });

  it("takes the default of a field that the rows do not have yet", async () => {
    const late: Aggregation = { groupBy: [{ fieldId: 200, defaultValue: "old" }], functions: [{ op: "count" }] };
    const row: Sale = { shop: null, open: true, amount: null, weight: null };
    expect(shown(await groupsOf([row, row], late))).toEqual({ '["old"]': [[2, null]] });
  });

  it("refuses more groups than an answer can have", async () => {
    const table = new GroupTable({ groupBy: [{ fieldId: 103 }], functions: [] });
    const values = BigInt64Array.from({ length: GROUPS_MAX + 1 }, (_, i) => BigInt(i));
    const batch = { rowCount: values.length, columns: { 103: { kind: "int64" as const, values } } };
    const rows = Uint32Array.from(values, Number);
    await table.addRows(batch, rows.subarray(0, GROUPS_MAX), systemClock);
    await expect(table.addRows(batch, rows, systemClock)).rejects.toThrow(
      expect.toSatisfy((error) => isVdbError(error, "parameter_too_large")),
    );
  });
});

/** A sum whose parts went beyond what a number holds may be a bigint again within it. */
function normal(groups: Record<string, unknown[]>): Record<string, unknown[]> {
  const small = (value: unknown) => (typeof value === "string" && /^-?\d+$/.test(value) ? plain(BigInt(value)) : value);
  return Object.fromEntries(
    Object.entries(groups).map(([key, cells]) => [key, cells.map((cell) => (cell as unknown[]).map(small))]),
  );
}
