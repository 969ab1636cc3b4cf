import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  FrameReader,
  newErrorFrame,
  newReplyFrame,
  newSearchFrame,
  readReplyFrame,
  readSearchFrame,
} from "./host-protocol.ts";

function readWhole(frame: Uint8Array): Uint32Array {
  const [words] = new FrameReader().push(frame);
  return words!;
}

describe("frames", () => {
  it("carry a search and its neighbours unchanged", () => {
    const head = { id: 4_000_000_000, indexNumber: 7, nq: 2, k: 5, effort: 64 };
    const { frame, queries } = newSearchFrame(head, 3);
    queries.set([1, -2, 3.5, 0, 1e-30, 6]);
    expect(readSearchFrame(readWhole(frame))).toEqual({ ...head, queries });

    const reply = newReplyFrame({ id: 9, nq: 1, k: 3, growthMiB: 12 });
    reply.rows.set([3, 1, -1]);
    reply.distances.set([0.5, 0.25, -1]);
    expect(readReplyFrame(readWhole(reply.frame))).toEqual({
      id: 9,
      growthMiB: 12,
      result: { rows: Int32Array.of(3, 1, -1), distances: Float32Array.of(0.5, 0.25, -1) },
    });
  });

  it("carry an error's text of any length", () => {
    for (const text of ["not loaded", "größe", "", "x".repeat(5)]) {
      expect(readReplyFrame(readWhole(newErrorFrame(3, text)))).toMatchObject({ id: 3, result: { error: text } });
    }
  });
});

describe("FrameReader", () => {
  it("finds the same frames however the stream is cut, also frames larger than its first buffer", () => {
    const dimensions = fc.array(fc.oneof(fc.nat(50), fc.constant(30_000)), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(dimensions, fc.infiniteStream(fc.integer({ min: 1, max: 40_000 })), (sizes, cuts) => {
        const sent = sizes.map((dimension, id) => {
          const { frame, queries } = newSearchFrame({ id, indexNumber: 1, nq: 1, k: 1, effort: 0 }, dimension);
          queries.fill(id + 0.5);
          return frame;
        });
        const stream = Buffer.concat(sent);
        const reader = new FrameReader();
        const received: { id: number; numbers: number; isWhole: boolean }[] = [];
        for (let start = 0; start < stream.length; ) {
          const end = start + cuts.next().value;
          for (const frame of reader.push(stream.subarray(start, end))) {
            const { id, queries } = readSearchFrame(frame);
            received.push({ id, numbers: queries.length, isWhole: queries.every((x) => x === id + 0.5) });
          }
          start = end;
        }
        expect(received).toEqual(sizes.map((numbers, id) => ({ id, numbers, isWhole: true })));
      }),
      { numRuns: 50 },
    );
  });
});
