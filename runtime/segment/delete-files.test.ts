import { tableFromIPC } from "apache-arrow";
import { describe, expect, it } from "vitest";
import { KEY_FIELD } from "../testing/column-rows.ts";
import { ManualClock } from "../testing/manual-clock.ts";
import { readDeletedKeys, readDeletedRows, writeDeletedKeys, writeDeletedRows } from "./delete-files.ts";
import { type KeyColumn, keyAt, keysOf } from "./keys.ts";

const clock = Object.assign(new ManualClock(), { yield: () => Promise.resolve() });

async function joined(parts: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const list: Uint8Array[] = [];
  for await (const part of parts) list.push(part);
  return new Uint8Array(Buffer.concat(list));
}

function timestamps(...values: number[]): BigInt64Array {
  return BigInt64Array.from(values, BigInt);
}

function keysIn(file: Uint8Array): { key: unknown; ts: bigint }[] {
  return readDeletedKeys(file).flatMap(({ keys, timestamps: times }) =>
    Array.from(times, (ts, i) => ({ key: keyAt(keys, i), ts })),
  );
}

describe("files of deleted keys", () => {
  const cases: [string, KeyColumn, KeyColumn, unknown[]][] = [
    ["Int64", keysOf("int64", [1, 2n ** 60n]), keysOf("int64", [-3]), [1, 2n ** 60n, -3]],
    ["VarChar", keysOf("varchar", ["", "é"]), keysOf("varchar", ["漢"]), ["", "é", "漢"]],
  ];
  it.each(cases)("hold %s keys with their times, in the order given, as Arrow", async (type, first, second, keys) => {
    const field = { ...KEY_FIELD, type: type as "Int64" };
    const parts = [
      { keys: first, timestamps: timestamps(5, 9) },
      { keys: second, timestamps: timestamps(7) },
    ];
    const file = await joined(writeDeletedKeys(field, parts, clock));
    expect(keysIn(file)).toEqual(keys.map((key, i) => ({ key, ts: [5n, 9n, 7n][i] })));
    const table = tableFromIPC(file);
    expect(table.schema.fields.map(({ name }) => name)).toEqual(["id", "$ts"]);
    expect([...table.getChild("$ts")!]).toEqual([5n, 9n, 7n]);
  });

  it("are not taken for files of rows, nor those for them", async () => {
    const keys = await joined(
      writeDeletedKeys(KEY_FIELD, [{ keys: keysOf("int64", [1]), timestamps: timestamps(1) }], clock),
    );
    const rows = await joined(writeDeletedRows({ rows: Int32Array.of(0), timestamps: timestamps(1) }, clock));
    expect(() => readDeletedRows(keys, 10)).toThrow(expect.objectContaining({ kind: "corrupt" }));
    expect(() => readDeletedKeys(rows)).toThrow(expect.objectContaining({ kind: "corrupt" }));
  });
});

describe("files of deleted rows", () => {
  it("hold rows with their times, over several record batches, as Arrow", async () => {
    const count = 20_000;
    const rows = Int32Array.from({ length: count }, (_, i) => 2 * i);
    const times = BigInt64Array.from(rows, (row) => BigInt(row) + (1n << 60n));
    const file = await joined(writeDeletedRows({ rows, timestamps: times }, clock));
    const parts = readDeletedRows(file, 40_000);
    expect(parts.length).toBeGreaterThan(1);
    expect(parts.flatMap((part) => [...part.rows])).toEqual([...rows]);
    expect(parts.flatMap((part) => [...part.timestamps])).toEqual([...times]);
    expect(tableFromIPC(file).schema.fields.map(({ name }) => name)).toEqual(["row", "$ts"]);
  });

  it("that name a row which the segment does not have are refused", async () => {
    const file = await joined(writeDeletedRows({ rows: Int32Array.of(3, 10), timestamps: timestamps(1, 1) }, clock));
    expect(readDeletedRows(file, 11)).toHaveLength(1);
    expect(() => readDeletedRows(file, 10)).toThrow(/row 10 of 10/);
  });
});
