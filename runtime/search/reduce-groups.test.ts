import fc from "fast-check";
import { expect, test } from "vitest";
import type { SearchHits } from "../protocol/values.ts";
import { keyAt, keysOf, varcharColumn } from "../segment/keys.ts";
import { systemClock } from "../system-clock.ts";
import { groupTexts, reduceGroups } from "./reduce-groups.ts";

interface Hit {
  key: number;
  distance: number;
  group: string;
}

/** Of one part: a list of hits a query, in order. */
type Part = Hit[][];

const QUERIES = 2;

function hitsOf(part: Part, segment: string): SearchHits {
  const flat = part.flat();
  return {
    counts: Uint32Array.from(part, (hits) => hits.length),
    keys: keysOf(
      "int64",
      flat.map(({ key }) => key),
    ),
    distances: Float32Array.from(flat, ({ distance }) => distance),
    refs: { segments: [segment], segment: new Uint32Array(flat.length), row: Uint32Array.from(flat.keys()) },
    groups: varcharColumn(flat.map(({ group }) => group)),
  };
}

function shown(hits: SearchHits): Hit[][] {
  const groups = groupTexts(hits);
  let at = 0;
  return Array.from(hits.counts, (count) =>
    Array.from({ length: count }, () => {
      const i = at++;
      return { key: Number(keyAt(hits.keys, i)), distance: hits.distances[i]!, group: groups[i]! };
    }),
  );
}

/** All hits of a query in order, each key once, of the groups that come first the first `size`. */
function model(parts: Part[], groupCount: number, size: number, sign: number): Part {
  return Array.from({ length: QUERIES }, (_, query) => {
    const all = parts.flatMap((part) => part[query]!).sort((a, b) => sign * (a.distance - b.distance) || a.key - b.key);
    const seen = new Set<number>();
    const distinct = all.filter(({ key }) => !seen.has(key) && seen.add(key));
    const groups = [...new Set(distinct.map(({ group }) => group))].slice(0, groupCount);
    const sizes = new Map<string, number>();
    return distinct.filter(({ group }) => {
      const count = (sizes.get(group) ?? 0) + 1;
      sizes.set(group, count);
      return groups.includes(group) && count <= size;
    });
  });
}

const lists = fc.array(
  fc.array(fc.tuple(fc.nat(9), fc.nat(4)), { maxLength: 12 }).map((cells) => new Map(cells)),
  { minLength: QUERIES, maxLength: QUERIES },
);

test("the best rows of the best groups stay, one a key, however many parts have them", async () => {
  const limits = fc.record({ groupCount: fc.integer({ min: 1, max: 4 }), size: fc.integer({ min: 1, max: 4 }) });
  const parts = fc.array(lists, { minLength: 1, maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(parts, limits, fc.boolean(), async (given, { groupCount, size }, descending) => {
      const sign = descending ? -1 : 1;
      // A key's group is the same wherever it is found; its distance is not, where it was written twice.
      const sorted = given.map((part) =>
        part.map((cells) =>
          [...cells]
            .map(([key, distance]): Hit => ({ key, distance, group: `g${key % 3}` }))
            .sort((a, b) => sign * (a.distance - b.distance) || a.key - b.key),
        ),
      );
      const found = await reduceGroups(
        sorted.map((part, p) => hitsOf(part, `${p}`)),
        { queryCount: QUERIES, groupCount, size, descending },
        systemClock,
      );
      expect(shown(found)).toEqual(model(sorted, groupCount, size, sign));
    }),
  );
});

test("many hits are reduced in turns", async () => {
  const part = (offset: number) =>
    hitsOf(
      [Array.from({ length: 60_000 }, (_, i) => ({ key: 2 * i + offset, distance: i, group: `${i % 9}` })), []],
      "s",
    );
  let turns = 0;
  let now = 0;
  const clock = { ...systemClock, monotonic: () => now++, yield: async () => void turns++ };
  const limits = { queryCount: QUERIES, groupCount: 9, size: 10_000, descending: false };
  const found = await reduceGroups([part(0), part(1)], limits, clock);
  expect(found.counts[0]).toBe(90_000);
  expect(turns).toBeGreaterThan(10);
});
