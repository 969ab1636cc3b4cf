import { expect, test } from "vitest";
import type { BytesColumn, Int64Column } from "../segment/column.ts";
import { hashKey, type KeyColumn, keysOf, shardOfKey } from "../segment/keys.ts";
import { CHUNK_ROWS } from "../segment/segment.ts";
import { mayHold, newValueFilter, type ValueFilter } from "./value-filter.ts";

function held(filter: ValueFilter, values: KeyColumn, count: number): number {
  return Array.from({ length: count }, (_, i) => mayHold(filter, hashKey(values, i))).filter(Boolean).length;
}

const texts = (prefix: string) =>
  keysOf(
    "varchar",
    Array.from({ length: CHUNK_ROWS }, (_, i) => `${prefix} ${i}`),
  );

test("a filter holds every value of its column, and one in a hundred others, at ten bits a value", () => {
  const filter = newValueFilter(texts("user"), CHUNK_ROWS);
  expect(filter.byteLength).toBe((CHUNK_ROWS * 10) / 8);
  expect(held(filter, texts("user"), CHUNK_ROWS)).toBe(CHUNK_ROWS);
  expect(held(filter, texts("order"), CHUNK_ROWS) / CHUNK_ROWS).toBeLessThan(0.02);
});

test("keys of one shard, whose hashes have a remainder in common, are told apart as well", () => {
  const all = keysOf(
    "int64",
    Array.from({ length: 8 * CHUNK_ROWS }, (_, i) => i),
  ) as Int64Column;
  const ofShard = all.values.filter((_, row) => shardOfKey(all, row, 4) === 1);
  const column: Int64Column = { kind: "int64", values: ofShard.slice(0, CHUNK_ROWS) };
  const others: Int64Column = { kind: "int64", values: ofShard.slice(CHUNK_ROWS, 2 * CHUNK_ROWS) };
  expect(others.values.length).toBeGreaterThan(CHUNK_ROWS / 2);
  const filter = newValueFilter(column, CHUNK_ROWS);
  expect(held(filter, column, CHUNK_ROWS)).toBe(CHUNK_ROWS);
  expect(held(filter, others, others.values.length) / others.values.length).toBeLessThan(0.02);
});

test("few different values take next to nothing", () => {
  const column = keysOf(
    "varchar",
    Array.from({ length: CHUNK_ROWS }, (_, i) => `category ${i % 20}`),
  );
  const filter = newValueFilter(column, CHUNK_ROWS);
  expect(filter.byteLength).toBe(32);
  expect(held(filter, column, CHUNK_ROWS)).toBe(CHUNK_ROWS);
});

test("a row without a value holds none, and a column without values is an empty filter", () => {
  const column: BytesColumn = { ...(keysOf("varchar", ["a", ""]) as BytesColumn), valid: Uint32Array.of(0b01) };
  const filter = newValueFilter(column, 2);
  expect(mayHold(filter, hashKey(keysOf("varchar", ["a"]), 0))).toBe(true);
  expect(mayHold(filter, hashKey(keysOf("varchar", [""]), 0))).toBe(false);
  const empty = newValueFilter({ ...column, valid: Uint32Array.of(0) }, 2);
  expect(mayHold(empty, hashKey(keysOf("varchar", ["a"]), 0))).toBe(false);
});
