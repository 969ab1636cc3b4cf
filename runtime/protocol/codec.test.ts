import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decode, encode } from "./codec.ts";

const ARRAYS = [
  Int8Array.of(-128, 0, 127),
  Uint8Array.of(0, 255),
  Int16Array.of(-32_768, 32_767),
  Int32Array.of(-(2 ** 31), 2 ** 31 - 1),
  Uint32Array.of(0, 2 ** 32 - 1),
  Float32Array.of(0.1, -0, Number.POSITIVE_INFINITY, Number.NaN),
  Float64Array.of(0.1, Number.MIN_VALUE),
  BigInt64Array.of(-(2n ** 63n), 2n ** 63n - 1n),
];

describe("codec", () => {
  it.each(ARRAYS.map((array) => [array.constructor.name, array] as const))(
    "gives a %s back as one, bit for bit",
    (_, array) => {
      const decoded = decode(encode({ array })) as { array: typeof array };
      // Plain bytes come back as a Buffer, which is a Uint8Array.
      if (array instanceof Uint8Array) expect(decoded.array).toBeInstanceOf(Uint8Array);
      else expect(decoded.array.constructor).toBe(array.constructor);
      expect(bytesOf(decoded.array)).toEqual(bytesOf(array));
    },
  );

  it("packs only the part that a view shows", () => {
    const whole = Float32Array.from({ length: 100 }, (_, i) => i);
    const part = whole.subarray(10, 13);
    const bytes = encode(part);
    expect(bytes.length).toBeLessThan(30);
    expect(Array.from(decode(bytes) as Float32Array)).toEqual([10, 11, 12]);
  });

  it("keeps 64-bit integers exact: a number where it can be, else a bigint", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (value) => {
        const decoded = decode(encode(value));
        expect(BigInt(decoded as bigint | number)).toBe(value);
        expect(typeof decoded).toBe(Number.isSafeInteger(Number(value)) ? "number" : "bigint");
      }),
    );
  });

  it("writes objects as maps that any MessagePack reader knows", () => {
    // map 16 with one entry: "a" to 1
    expect(Buffer.from(encode({ a: 1 })).toString("hex")).toBe("de0001a16101");
  });

  it("gives bytes that a later call does not touch", () => {
    const first = encode({ text: "first" });
    const copy = Uint8Array.from(first);
    for (let i = 0; i < 1000; i++) encode({ text: `later ${i}`.repeat(20) });
    expect(bytesOf(first)).toEqual(bytesOf(copy));
  });
});

function bytesOf(array: ArrayBufferView): Uint8Array {
  return Uint8Array.from(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
}
