import { describe, expect, it } from "vitest";
import type { VectorType } from "../schema.ts";
import { fillVectors } from "./fill-vectors.ts";

const PLACE = { field: "v" };

describe("vectors as they come in MessagePack", () => {
  it.each<[VectorType, number, unknown, number[]]>([
    ["Float16Vector", 2, Float32Array.of(1, -2), [0, 0x3c, 0, 0xc0]],
    ["Float16Vector", 2, Float64Array.of(1, -2), [0, 0x3c, 0, 0xc0]],
    ["Float16Vector", 2, Uint16Array.of(0x3c00, 0xc000), [0, 0x3c, 0, 0xc0]],
    ["BFloat16Vector", 2, Buffer.from([0x80, 0x3f, 0, 0xc0]), [0x80, 0x3f, 0, 0xc0]],
    ["Int8Vector", 3, Int8Array.of(-1, 0, 127), [255, 0, 127]],
    ["BinaryVector", 16, Uint8Array.of(1, 2), [1, 2]],
  ])("%s of %i: %o", (type, dimension, cell, bytes) => {
    const column = fillVectors(type, dimension, [cell, cell], PLACE) as { values: Uint8Array };
    expect([...column.values]).toEqual([...bytes, ...bytes]);
  });

  it("keeps bytes of a sparse vector that ascend, and puts others in order", () => {
    const bytes = Uint8Array.of(9, 0, 0, 0, 0, 0, 128, 63, 3, 0, 0, 0, 0, 0, 0, 64);
    const column = fillVectors("SparseFloatVector", 0, [bytes, null, { indices: [9n, 3n], values: [1, 2] }], PLACE);
    const ordered = [3, 0, 0, 0, 0, 0, 0, 64, 9, 0, 0, 0, 0, 0, 128, 63];
    expect(column).toEqual({
      kind: "sparseVector",
      offsets: Uint32Array.of(0, 16, 16, 32),
      bytes: Uint8Array.from([...ordered, ...ordered]),
    });
  });
});

describe("refused vectors", () => {
  it.each<[string, VectorType, number, unknown, number, string]>([
    ["words for bytes", "Int8Vector", 2, Uint16Array.of(1, 2), 1804, "expected Int8Vector, got Uint16Array"],
    ["signed bytes for halves", "Float16Vector", 2, Int8Array.of(1, 2, 3, 4), 1804, "expected Float16Vector"],
    ["bytes for a FloatVector", "FloatVector", 2, Uint8Array.of(1, 2), 1804, "expected FloatVector, got Uint8Array"],
    ["too many bytes", "BinaryVector", 8, Uint8Array.of(1, 2), 1804, "expected a vector of 1 bytes, got 2"],
    ["a half that is infinite", "Float16Vector", 1, Uint16Array.of(0xfc00), 1100, "'Infinity' is not a number"],
    ["a bfloat16 that is NaN", "BFloat16Vector", 1, Uint16Array.of(0x7fc1), 1100, "'NaN' is not a number"],
    ["a float beyond float32", "FloatVector", 2, [1e39, 0], 1100, "is not a number or infinity"],
    ["a text among numbers", "Float16Vector", 2, [1, "2"], 1804, "a number at position 1"],
    ["half a pair", "SparseFloatVector", 0, Uint8Array.of(1, 2, 3), 1804, "invalid data length in sparse float vector"],
    ["a sparse value beyond float32", "SparseFloatVector", 0, { 1: 1e39 }, 1100, "is not a number or infinity"],
    ["a sparse value that is text", "SparseFloatVector", 0, { 1: "1" }, 1804, "a number as value"],
    ["an index below 0", "SparseFloatVector", 0, { indices: [-1], values: [1] }, 1804, "a whole number as index"],
    [
      "a large index before another",
      "SparseFloatVector",
      0,
      { indices: [2n ** 64n - 1n, 1], values: [1, 1] },
      1100,
      "2^32-1",
    ],
    ["values alone", "SparseFloatVector", 0, { values: [1] }, 1804, "indices and values"],
  ])("%s", (_, type, dimension, cell, code, words) => {
    expect(() => fillVectors(type, dimension, [cell], PLACE)).toThrowError(
      expect.objectContaining({ code, message: expect.stringContaining(words) }) as Error,
    );
  });
});
