import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { VdbError } from "../errors.ts";
import { systemClock } from "../system-clock.ts";
import {
  decodePublic,
  encodePublic,
  encodeReply,
  JSON_TYPE,
  MSGPACK_TYPE,
  parseJson,
  shortestFloat32,
  toJson,
} from "./public-codec.ts";

const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });

describe("parseJson", () => {
  it("reads integers of any size exactly", () => {
    fc.assert(
      fc.property(fc.array(int64), (values) => {
        const parsed = parseJson(`{"ids":[${values.join(",")}]}`) as { ids: (number | bigint)[] };
        expect(parsed.ids.map(BigInt)).toEqual(values);
      }),
    );
  });

  it("reads small integers as numbers beside large ones", () => {
    expect(parseJson('{"a":1,"b":9223372036854775807,"c":-12}')).toEqual({ a: 1, b: 9223372036854775807n, c: -12 });
  });

  it("reads long fractions as numbers beside large integers", () => {
    const fractions = "[0.12345678901234567,-1.2345678901234567e-12,12345678901234567.5,12345678901234567e3]";
    expect(parseJson(`{"id":1234567890123456789,"v":${fractions}}`)).toEqual({
      id: 1234567890123456789n,
      v: JSON.parse(fractions) as number[],
    });
  });

  it("tells texts that look like its own marks from integers", () => {
    const value = { big: 0, texts: ["#i5", "#t", "#", "\\u0023i5"], nested: { "#i5": "#i12345678901234567890" } };
    const text = JSON.stringify(value).replace('"big":0', '"big":12345678901234567890, "escaped": "\\u0023i7"');
    expect(parseJson(text)).toEqual({ ...value, big: 12345678901234567890n, escaped: "#i7" });
  });

  it("leaves digits in texts and keys alone", () => {
    const value = { "1234567890123456789": "9876543210987654321", t: 'say "12345678901234567890" \\' };
    expect(parseJson(JSON.stringify(value))).toEqual(value);
  });

  it("reads what JSON.parse reads, but for integers beyond 2^53", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = JSON.stringify({ value });
        const parsed = parseJson(`${text.slice(0, -1)},"big":1234567890123456789}`);
        const rounded = JSON.stringify(parsed, (_, item: unknown) => (typeof item === "bigint" ? Number(item) : item));
        expect(JSON.parse(rounded)).toEqual({ ...(JSON.parse(text) as object), big: 1234567890123456800 });
      }),
    );
  });

  it("refuses what is no JSON as malformed_request", () => {
    for (const text of ["{", '{"a":1234567890123456789', "[1,]", "01234567890123456789"]) {
      expect(() => parseJson(text)).toThrowError(
        expect.objectContaining({ kind: "malformed_request", code: 1801 }) as Error,
      );
    }
  });
});

describe("toJson", () => {
  it("writes large integers as plain digits", () => {
    expect(toJson({ id: 9223372036854775807n, small: 5n, list: [-(2n ** 63n)] })).toBe(
      '{"id":9223372036854775807,"small":5,"list":[-9223372036854775808]}',
    );
  });

  it("writes float32 as the shortest decimals, also beside large integers", () => {
    const v = Float32Array.of(0.1, 1 / 3, 16_777_216, -2.5);
    expect(toJson({ v })).toBe('{"v":[0.1,0.33333334,16777216,-2.5]}');
    expect(toJson({ v, id: 2n ** 60n })).toBe('{"v":[0.1,0.33333334,16777216,-2.5],"id":1152921504606846976}');
  });

  it("says the same in both ways of writing", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const plain = toJson({ value });
        const exact = toJson({ value, big: 2n ** 60n });
        expect(exact).toBe(`${plain.slice(0, -1)},"big":1152921504606846976}`);
      }),
    );
  });

  it("is read back as it was", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(int64, fc.string(), fc.boolean(), fc.constant(null))), (values) => {
        const read = (parseJson(toJson({ values })) as { values: unknown[] }).values;
        expect(read.map((item) => (typeof item === "number" ? BigInt(item) : item))).toEqual(values);
      }),
    );
  });
});

describe("shortestFloat32", () => {
  it("rounds to the same float32", () => {
    fc.assert(
      fc.property(fc.float({ noNaN: true, noDefaultInfinity: true }), (x) => {
        // As numbers: -0 may become 0.
        expect(Math.fround(shortestFloat32(x)) === x).toBe(true);
      }),
    );
  });

  it("is the shortest decimal as text would have it", () => {
    const asText = (x: number) => {
      const short = [7, 8].map((digits) => Number(x.toPrecision(digits))).find((found) => Math.fround(found) === x);
      return short ?? Number(x.toPrecision(9));
    };
    const sizes = fc.tuple(fc.integer({ min: -6, max: 9 }), fc.double({ min: 1, max: 10, noNaN: true }), fc.boolean());
    fc.assert(
      fc.property(sizes, ([power, digits, isNegative]) => {
        const x = Math.fround(digits * 10 ** power * (isNegative ? -1 : 1));
        expect(shortestFloat32(x)).toBe(asText(x));
      }),
      { numRuns: 1_000 },
    );
  });

  it("is no longer than nine digits", () => {
    fc.assert(
      fc.property(
        fc.float({ noNaN: true, noDefaultInfinity: true, min: Math.fround(1e-3), max: Math.fround(1e6) }),
        (x) => {
          expect(String(shortestFloat32(x)).replace(/^0\.0*|\./g, "").length).toBeLessThanOrEqual(9);
        },
      ),
    );
  });
});

describe("content types", () => {
  it("carries the same body in both", () => {
    const body = { collectionName: "c", ids: [1, 2n ** 60n], deep: { a: null, b: [true, "ü"] } };
    for (const type of [JSON_TYPE, `${JSON_TYPE}; charset=utf-8`, MSGPACK_TYPE]) {
      expect(decodePublic(encodePublic(body, type), type)).toEqual(body);
    }
  });

  it("takes an empty JSON body as an empty object", () => {
    expect(decodePublic(new Uint8Array(0), JSON_TYPE)).toEqual({});
  });

  it("refuses other types", () => {
    expect(() => decodePublic(new Uint8Array(1), "text/csv")).toThrowError(VdbError);
  });
});

describe("encodeReply", () => {
  it("writes in turns what encodePublic writes at once", async () => {
    const row = fc.record({
      id: fc.oneof(fc.integer(), int64),
      name: fc.string({ maxLength: 3_000 }),
      more: fc.jsonValue(),
    });
    const replies = fc.record({
      code: fc.constant(0),
      absent: fc.constant(undefined),
      data: fc.oneof(fc.array(row, { maxLength: 200, size: "max" }), fc.jsonValue()),
      topks: fc.array(fc.nat()),
    });
    await fc.assert(
      fc.asyncProperty(replies, fc.constantFrom(JSON_TYPE, MSGPACK_TYPE), async (reply, type) => {
        const written = await encodeReply(reply, type, systemClock);
        expect(Buffer.from(written).equals(Buffer.from(encodePublic(reply, type)))).toBe(true);
      }),
      { numRuns: 40 },
    );
    for (const empty of [{ data: [] }, {}, null]) {
      expect(await encodeReply(empty, JSON_TYPE, systemClock)).toEqual(encodePublic(empty, JSON_TYPE));
    }
  });

  it("holds nobody up by a reply of many rows, or of long ones", async () => {
    let turns = 0;
    let now = 0;
    const clock = { ...systemClock, monotonic: () => now++, yield: async () => void turns++ };
    const vector = new Float32Array(10_000).fill(0.5);
    await encodeReply({ data: Array.from({ length: 40 }, (_, id) => ({ id, vector })) }, JSON_TYPE, clock);
    expect(turns).toBeGreaterThan(5);
    // Few rows, each longer than the one before.
    turns = 0;
    const texts = Array.from({ length: 12 }, (_, id) => ({ id, text: "x".repeat(4 ** Math.min(id, 9)) }));
    await encodeReply({ data: texts }, JSON_TYPE, clock);
    expect(turns).toBeGreaterThan(1);
    turns = 0;
    await encodeReply({ data: Array.from({ length: 10 }, (_, id) => ({ id, more: { vector } })) }, JSON_TYPE, clock);
    expect(turns).toBeGreaterThan(1);
    // A search's reply.
    turns = 0;
    await encodeReply({ data: Array.from({ length: 10 }, (_, id) => ({ id, distance: 0.5 })) }, JSON_TYPE, clock);
    expect(turns).toBe(0);
    turns = 0;
    await encodeReply({ data: Array.from({ length: 50_000 }, (_, id) => ({ id })) }, JSON_TYPE, clock);
    expect(turns).toBeGreaterThan(2);
  });
});
