import fc from "fast-check";
import { expect, test } from "vitest";
import type { NumberColumn } from "../segment/column.ts";
import { keyAt } from "../segment/keys.ts";
import { Segment } from "../segment/segment.ts";
import { systemClock } from "../system-clock.ts";
import { batchOf } from "../testing/column-rows.ts";
import { mergeAnswers } from "./merge-answers.ts";
import { newestInOrder, type Question } from "./newest-in-order.ts";
import { querySegment } from "./query-segment.ts";
import { buildSegment, groupFilter } from "./segment-fixture.ts";

const GROUP = 102;
const FIXTURE = buildSegment({ rowCount: 1, keyKind: "int64", seed: 1, keyCount: 1 });

const rowArbitrary = fc.record({ key: fc.nat(12), group: fc.nat(9), segment: fc.nat(2) });

test("in an order, each key is its newest matching row, wherever its rows lie and the limit cuts", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(rowArbitrary, { maxLength: 40 }),
      fc.integer({ min: 1, max: 15 }),
      fc.boolean(),
      fc.option(fc.uniqueArray(fc.nat(9), { minLength: 1, maxLength: 9 })),
      async (rows, limit, isDescending, groups) => {
        const segments = [0, 1, 2].map(
          (n) => new Segment({ segmentId: `${n}`.repeat(26), partitionId: n, keyFieldId: 100, keyKind: "int64" }),
        );
        rows.forEach(({ key, group, segment }, ts) => {
          const cells = { 100: BigInt(key), 101: [0, 0, 0, 0, 0], 102: group };
          segments[segment]!.append(batchOf(FIXTURE.schema.fields, [cells]), BigInt(ts));
        });
        const ask = async (question: Question) => {
          const options = { ...question, countOnly: false, readTs: BigInt(rows.length), clock: systemClock };
          const parts = await Promise.all(segments.map((segment) => querySegment(segment, options)));
          return mergeAnswers(parts, question, systemClock);
        };
        const asked = {
          ...{ filter: groupFilter(FIXTURE, groups), fieldIds: [GROUP], limit },
          order: [{ fieldId: GROUP, isDescending }],
        };
        const found = (await newestInOrder(asked, 100, ask, systemClock)).rows;

        const newest = new Map(
          rows.filter(({ group }) => groups?.includes(group) ?? true).map((row) => [row.key, row.group]),
        );
        const wanted = [...newest]
          .sort(([keyA, a], [keyB, b]) => (isDescending ? b - a : a - b) || keyA - keyB)
          .slice(0, limit);
        const shown = Array.from(found?.timestamps ?? [], (_, row) => [
          Number(keyAt(found!.keys, row)),
          (found!.batch.columns[GROUP] as NumberColumn).values[row],
        ]);
        expect(shown).toEqual(wanted);
      },
    ),
    { numRuns: 150 },
  );
});
