import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { SearchHits } from "../protocol/values.ts";
import { isDescending, type Metric } from "../schema.ts";
import { keyAt, keysOf } from "../segment/keys.ts";
import { pageHits, reduceHits } from "./reduce.ts";

interface Hit {
  key: number | string;
  distance: number;
  segment: string;
  row: number;
}

/** Of one part: a list of hits a query. */
type Part = Hit[][];

function hitsOf(part: Part, kind: "int64" | "varchar"): SearchHits {
  const flat = part.flat();
  const segments = [...new Set(flat.map(({ segment }) => segment))];
  return {
    counts: Uint32Array.from(part, (hits) => hits.length),
    keys: keysOf(
      kind,
      flat.map(({ key }) => key),
    ),
    distances: Float32Array.from(flat, ({ distance }) => distance),
    refs: {
      segments,
      segment: Uint32Array.from(flat, ({ segment }) => segments.indexOf(segment)),
      row: Uint32Array.from(flat, ({ row }) => row),
    },
  };
}

function partOf(hits: SearchHits): Part {
  let at = 0;
  return Array.from(hits.counts, (count) =>
    Array.from({ length: count }, () => {
      const i = at++;
      return {
        key: keyAt(hits.keys, i) as number | string,
        distance: hits.distances[i]!,
        segment: hits.refs.segments[hits.refs.segment[i]!]!,
        row: hits.refs.row[i]!,
      };
    }),
  );
}

/** Better first: by distance, then by key. */
function compareHits(metric: Metric): (a: Hit, b: Hit) => number {
  const sign = isDescending(metric) ? -1 : 1;
  return (a, b) => sign * (a.distance - b.distance) || (a.key < b.key ? -1 : a.key > b.key ? 1 : 0);
}

/** What reducing means, written for the eye: all hits of a query, sorted, each key once, the first k. */
function model(parts: Part[], queryCount: number, topK: number, metric: Metric): Part {
  return Array.from({ length: queryCount }, (_, query) => {
    const all = parts.flatMap((part) => part[query]!).sort(compareHits(metric));
    const seen = new Set<number | string>();
    return all.filter(({ key }) => !seen.has(key) && seen.add(key)).slice(0, topK);
  });
}

const METRIC = fc.constantFrom<Metric>("L2", "IP", "COSINE");
const QUERIES = 3;

/** Few keys and distances, so that ties and repeated keys are the rule; each hit from a row of its own. */
function partsArbitrary(key: fc.Arbitrary<number | string>): fc.Arbitrary<Hit[][][]> {
  const hit = fc.record({ key, distance: fc.integer({ min: 0, max: 5 }) });
  const lists = fc.array(fc.array(hit, { maxLength: 6 }), { minLength: QUERIES, maxLength: QUERIES });
  return fc
    .array(lists, { minLength: 1, maxLength: 4 })
    .map((parts) =>
      parts.map((part, p) =>
        part.map((hits, query) =>
          hits.map((h, i) => ({ ...h, segment: `segment-${p}-${i % 2}`, row: query * 100 + i })),
        ),
      ),
    );
}

const CASES = [
  ["int64", partsArbitrary(fc.integer({ min: -4, max: 4 }))],
  ["varchar", partsArbitrary(fc.constantFrom("a", "b", "é", "aa", "z"))],
] as const;

describe("reduceHits", () => {
  it.each(CASES)("is the sorted union without repeated keys, cut at k (%s keys)", (kind, arbitrary) => {
    fc.assert(
      fc.property(arbitrary, METRIC, fc.integer({ min: 1, max: 8 }), (parts, metric, topK) => {
        const sorted = parts.map((part) => part.map((hits) => hits.toSorted(compareHits(metric))));
        const reduced = reduceHits(
          sorted.map((part) => hitsOf(part, kind)),
          QUERIES,
          topK,
          metric,
        );
        const expected = model(parts, QUERIES, topK, metric);
        const bare = (part: Part) => part.map((hits) => hits.map(({ key, distance }) => ({ key, distance })));
        expect(bare(partOf(reduced))).toEqual(bare(expected));
      }),
    );
  });

  it("keeps each hit's reference with it", () => {
    fc.assert(
      fc.property(CASES[0][1], METRIC, (parts, metric) => {
        const sorted = parts.map((part) => part.map((hits) => hits.toSorted(compareHits(metric))));
        const reduced = partOf(
          reduceHits(
            sorted.map((part) => hitsOf(part, "int64")),
            QUERIES,
            5,
            metric,
          ),
        );
        reduced.forEach((hits, query) => {
          for (const hit of hits) expect(parts.flatMap((part) => part[query]!)).toContainEqual(hit);
        });
      }),
    );
  });

  it("gives the same when parts are reduced in two steps", () => {
    fc.assert(
      fc.property(CASES[0][1], METRIC, fc.integer({ min: 1, max: 6 }), (parts, metric, topK) => {
        const all = parts.map((part) =>
          hitsOf(
            part.map((hits) => hits.toSorted(compareHits(metric))),
            "int64",
          ),
        );
        const once = reduceHits(all, QUERIES, topK, metric);
        const half = Math.ceil(all.length / 2);
        const steps = [all.slice(0, half), all.slice(half)].filter((some) => some.length > 0);
        const twice = reduceHits(
          steps.map((some) => reduceHits(some, QUERIES, topK, metric)),
          QUERIES,
          topK,
          metric,
        );
        expect(Array.from(twice.counts)).toEqual(Array.from(once.counts));
        expect(Array.from(twice.distances)).toEqual(Array.from(once.distances));
        expect(twice.keys).toEqual(once.keys);
      }),
    );
  });

  it("takes hits of parts that found nothing", () => {
    const empty = hitsOf([[], []], "int64");
    const reduced = reduceHits([empty, empty], 2, 10, "L2");
    expect(Array.from(reduced.counts)).toEqual([0, 0]);
    expect(reduced.distances.length).toBe(0);
  });
});

describe("pageHits", () => {
  it("is the slice of each query's hits", () => {
    fc.assert(
      fc.property(CASES[0][1], fc.nat(7), fc.integer({ min: 1, max: 7 }), ([part], offset, limit) => {
        const paged = partOf(pageHits(hitsOf(part!, "int64"), offset, limit));
        expect(paged).toEqual(part!.map((hits) => hits.slice(offset, offset + limit)));
      }),
    );
  });
});
