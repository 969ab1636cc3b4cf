import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ColumnBatch } from "../segment/column.ts";
import {
  decodeRecord,
  encodeEntry,
  encodeFence,
  encodeRecord,
  type LogEntryBody,
  recordBytes,
  recordCrc,
} from "./record.ts";

const batch: ColumnBatch = {
  rowCount: 3,
  columns: {
    100: { kind: "int64", values: BigInt64Array.of(1n, -2n, 9_007_199_254_740_993n) },
    101: { kind: "floatVector", dimension: 2, values: Float32Array.of(1, 2, 3, 4, 5, 6) },
    102: {
      kind: "varchar",
      offsets: Uint32Array.of(0, 1, 1, 3),
      bytes: new TextEncoder().encode("aé"),
      valid: Uint32Array.of(0b101),
    },
  },
};

const insert: LogEntryBody = {
  vchannel: "0_1v0",
  requestId: "r1",
  operation: "insert",
  partitionId: 7,
  schemaVersion: 2,
  batch,
};

const body: fc.Arbitrary<LogEntryBody> = fc.record({
  vchannel: fc.string(),
  requestId: fc.string(),
  operation: fc.constant("delete" as const),
  partitionId: fc.integer({ min: 0 }),
  schemaVersion: fc.integer({ min: 0 }),
  keys: fc.bigInt64Array().map((values) => ({ kind: "int64" as const, values })),
});

const entry = fc.record({ ts: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), body });

const header = fc.record({
  channel: fc.integer({ min: 0, max: 0xffff }),
  kind: fc.constant("mut" as const),
  term: fc.maxSafeNat(),
  index: fc.maxSafeNat(),
  previous: fc.record({ seq: fc.maxSafeNat(), crc: fc.integer({ min: 0, max: 0xffffffff }) }),
});

describe("a record", () => {
  test("has these bytes, for ever", () => {
    const payload = encodeRecord(
      { channel: 3, kind: "mut", term: 5, index: 6, previous: { seq: 41, crc: 0xdeadbeef } },
      [{ ts: 0x0102030405060708n, bytes: Uint8Array.of(0xc0), version: 1 }],
    );
    expect(Buffer.from(payload).toString("hex")).toBe(
      [
        "5657414c", // VWAL
        "01", // version
        "02", // mut
        "0300", // channel
        "0500000000000000", // term
        "0600000000000000", // index
        "2900000000000000", // previous sequence
        "efbeadde", // previous CRC
        "01000000", // entries
        "0807060504030201", // timestamp
        "01000000", // length
        "c0", // nil
        "569fb5dc", // CRC-32 of the above
      ].join(""),
    );
  });

  test("of rows comes back with every column as it was", () => {
    const payload = encodeRecord({ channel: 0, kind: "ins", term: 1, index: 0, previous: { seq: 0, crc: 0 } }, [
      { ts: 9n, ...encodeEntry(insert) },
    ]);
    const record = decodeRecord(payload);
    expect(record.lastTs).toBe(9n);
    expect(record.entries).toHaveLength(1);
    const { batch: decoded, ...rest } = record.entries[0]!;
    expect(rest).toEqual({ ...insert, batch: undefined, ts: 9n });
    expect(decoded?.rowCount).toBe(3);
    expect(decoded?.columns[100]).toEqual(batch.columns[100]);
    expect(decoded?.columns[101]).toEqual(batch.columns[101]);
    const text = decoded?.columns[102];
    if (text?.kind !== "varchar") throw new Error("the varchar column is gone");
    expect(text.offsets).toEqual(Uint32Array.of(0, 1, 1, 3));
    expect(Buffer.from(text.bytes).toString()).toBe("aé");
    expect(text.valid).toEqual(Uint32Array.of(0b101));
  });

  test("has the version that one of its entries takes, and comes back", () => {
    const head = { channel: 0, kind: "ins" as const, term: 1, index: 0, previous: { seq: 0, crc: 0 } };
    const recordOf = (...bodies: LogEntryBody[]) =>
      encodeRecord(
        head,
        bodies.map((body, i) => ({ ts: BigInt(i), ...encodeEntry(body) })),
      );
    const nullVectors = { ...insert, hasNullVectors: true as const };
    expect(recordOf(insert, insert)[4]).toBe(1);
    const payload = recordOf(insert, nullVectors, insert);
    expect(payload[4]).toBe(2);
    expect(decodeRecord(payload).entries).toHaveLength(3);
  });

  test("comes back as it went in", () => {
    fc.assert(
      fc.property(header, fc.array(entry, { maxLength: 20 }), (head, entries) => {
        const encoded = entries.map(({ ts, body }) => ({ ts, ...encodeEntry(body) }));
        const payload = encodeRecord(head, encoded);
        expect(payload.length).toBe(
          recordBytes(
            encoded.length,
            encoded.reduce((sum, { bytes }) => sum + bytes.length, 0),
          ),
        );
        const { entries: decoded, crc, previousSeq, previousCrc, lastTs, ...rest } = decodeRecord(payload);
        expect({ ...rest, previous: { seq: previousSeq, crc: previousCrc } }).toEqual(head);
        expect(crc).toBe(recordCrc(payload));
        expect(lastTs).toBe(entries.at(-1)?.ts ?? 0n);
        expect(decoded).toEqual(entries.map(({ ts, body }) => ({ ...body, ts })));
      }),
    );
  });

  test("with any one bit flipped is corrupt", () => {
    fc.assert(
      fc.property(header, fc.array(entry, { maxLength: 3 }), fc.nat(), (head, entries, position) => {
        const payload = encodeRecord(
          head,
          entries.map(({ ts, body }) => ({ ts, ...encodeEntry(body) })),
        );
        const bit = position % (payload.length * 8);
        payload[bit >> 3]! ^= 1 << (bit & 7);
        expect(() => decodeRecord(payload)).toThrow(expect.objectContaining({ kind: "corrupt" }));
      }),
    );
  });

  test("cut short anywhere is corrupt", () => {
    const payload = encodeRecord({ channel: 0, kind: "ins", term: 1, index: 0, previous: { seq: 0, crc: 0 } }, [
      { ts: 9n, ...encodeEntry(insert) },
    ]);
    for (let length = 0; length < payload.length; length++) {
      expect(() => decodeRecord(payload.subarray(0, length))).toThrow(expect.objectContaining({ kind: "corrupt" }));
    }
  });

  test("of a fence carries the node, the chain and the newest timestamp", () => {
    const fence = { nodeId: "n1", chain: { ins: { seq: 4, crc: 5 }, mut: { seq: 0, crc: 0 } }, isAnchored: true };
    const record = decodeRecord(
      encodeFence({ channel: 2, term: 8, index: 0, previous: { seq: 1, crc: 2 } }, fence, 77n),
    );
    expect(record).toMatchObject({ kind: "ctl", term: 8, entries: [], fence, lastTs: 77n });
  });
});
