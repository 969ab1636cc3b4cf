import { describe, expect, it } from "vitest";
import { DELETE_CHUNK_ROWS, DeleteBuffer } from "./delete-buffer.ts";
import { keyAt, keysOf } from "./keys.ts";

function add(buffer: DeleteBuffer, seq: number, keys: readonly number[]): void {
  buffer.add({ keys: keysOf("int64", keys), timestamps: new BigInt64Array(keys.length).fill(BigInt(seq * 10)) }, seq);
}

function held(buffer: DeleteBuffer): [key: unknown, ts: bigint][] {
  return buffer
    .parts()
    .flatMap(({ keys, timestamps }) => Array.from(timestamps, (ts, i): [unknown, bigint] => [keyAt(keys, i), ts]));
}

describe("DeleteBuffer", () => {
  it("holds what was added in its order, over chunks, and lets go what is in objects from the front", () => {
    const buffer = new DeleteBuffer();
    const expected: [number, bigint][] = [];
    for (let seq = 1; seq <= 30; seq++) {
      const keys = Array.from({ length: 700 }, (_, i) => seq * 1000 + i);
      add(buffer, seq, keys);
      expected.push(...keys.map((key): [number, bigint] => [key, BigInt(seq * 10)]));
    }
    expect(held(buffer)).toEqual(expected);
    expect(buffer.rowCount).toBe(21_000);
    buffer.dropThrough(14);
    const left = held(buffer);
    expect(left).toEqual(expected.slice(-left.length));
    // Of what is in objects a chunk's worth may stay, of what is not nothing may go.
    expect(left.length).toBeGreaterThanOrEqual(16 * 700);
    expect(left.length).toBeLessThan(16 * 700 + DELETE_CHUNK_ROWS);
    buffer.dropThrough(30);
    expect([held(buffer), buffer.rowCount]).toEqual([[], 0]);
  });

  it("keeps apart what was there when it was sealed", () => {
    const buffer = new DeleteBuffer();
    add(buffer, 1, [1]);
    add(buffer, 2, [2]);
    buffer.seal();
    buffer.seal();
    add(buffer, 3, [3]);
    buffer.dropThrough(1);
    expect(held(buffer).map(([key]) => key)).toEqual([1, 2, 3]);
    buffer.dropThrough(2);
    expect(held(buffer).map(([key]) => key)).toEqual([3]);
  });

  it("goes with the newest of a chunk, also when that did not come last", () => {
    const buffer = new DeleteBuffer();
    add(buffer, 9, [9]);
    add(buffer, 4, [4]);
    buffer.dropThrough(8);
    expect(held(buffer).map(([key]) => key)).toEqual([9, 4]);
  });

  it("gives parts that stay as they are, and keeps none of the memory that it was given", () => {
    const buffer = new DeleteBuffer();
    const keys = keysOf("int64", [1, 2]);
    buffer.add({ keys, timestamps: BigInt64Array.of(1n, 1n) }, 1);
    const [part] = buffer.parts();
    (keys.kind === "int64" ? keys.values : new BigInt64Array()).fill(77n);
    add(buffer, 2, [3]);
    expect(part!.timestamps).toHaveLength(2);
    expect([keyAt(part!.keys, 0), keyAt(part!.keys, 1)]).toEqual([1, 2]);
  });
});
