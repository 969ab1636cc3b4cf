import { describe, expect, it } from "vitest";
import { isVdbError } from "../errors.ts";
import type { RowRefs } from "../protocol/values.ts";
import { CHUNK_ROWS } from "../segment/segment.ts";
import { rowsOf } from "../testing/column-rows.ts";
import { seededNumbers } from "../testing/vectors.ts";
import { fetchFromSegments } from "./fetch.ts";
import { buildSegment } from "./segment-fixture.ts";

const idOf = (n: number) => String(n).padStart(26, "s");

describe("fetchFromSegments", () => {
  const fixtures = [CHUNK_ROWS + 40, 30, 1].map((rowCount, n) =>
    buildSegment({ rowCount, keyKind: "int64", seed: n, keyCount: 1e6, segmentId: idOf(n) }),
  );
  const segmentOf = (segmentId: string) => fixtures.find(({ segment }) => segment.segmentId === segmentId)?.segment;

  function refsOf(places: readonly (readonly [fixture: number, row: number])[], segments: string[]): RowRefs {
    return {
      segments,
      segment: Uint32Array.from(places, ([fixture]) => segments.indexOf(idOf(fixture))),
      row: Uint32Array.from(places, ([, row]) => row),
    };
  }

  it("gives rows of several segments and chunks in the order of the references, repeats included", () => {
    const next = seededNumbers(4);
    const places = Array.from({ length: 200 }, () => {
      const fixture = Math.floor(next() * 3);
      return [fixture, Math.floor(next() * fixtures[fixture]!.rows.length)] as const;
    });
    places.push([0, CHUNK_ROWS - 1], [0, CHUNK_ROWS], [0, 0], [2, 0], [2, 0]);
    const batch = fetchFromSegments(segmentOf, refsOf(places, [idOf(2), idOf(0), idOf(1)]), [102, 100]);
    const expected = places.map(([fixture, row]) => {
      const { key, group } = fixtures[fixture]!.rows[row]!;
      return { 100: BigInt(key), 102: group };
    });
    const { fields } = fixtures[0]!.schema;
    expect(
      rowsOf(
        batch,
        fields.filter(({ fieldId }) => fieldId !== 101),
      ),
    ).toEqual(expected);
    expect(batch.columns[101]).toBeUndefined();
  });

  it("gives no rows for no references, and does not ask for segments that no reference is to", () => {
    const refs = refsOf([], [idOf(7)]);
    expect(fetchFromSegments(segmentOf, refs, [100]).rowCount).toBe(0);
    expect(fetchFromSegments(segmentOf, { ...refsOf([[1, 2]], [idOf(1), idOf(7)]) }, [100]).rowCount).toBe(1);
  });

  it("refuses, retriably, when a segment has gone elsewhere", () => {
    const fetch = () => fetchFromSegments(segmentOf, refsOf([[7, 0]], [idOf(7)]), [100]);
    expect(fetch).toThrow(expect.toSatisfy((error) => isVdbError(error, "segment_not_loaded") && error.retriable));
  });
});
