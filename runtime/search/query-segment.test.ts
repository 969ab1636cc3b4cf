import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { planFilter } from "../expr/plan.ts";
import type { PrimaryKey } from "../segment/column.ts";
import { columnRows } from "../segment/gather.ts";
import { compareKeys, keyAt } from "../segment/keys.ts";
import { CHUNK_ROWS } from "../segment/segment.ts";
import { systemClock } from "../system-clock.ts";
import { rowsOf } from "../testing/column-rows.ts";
import { querySegment, rowsOfSegment } from "./query-segment.ts";
import { buildSegment, type Fixture, groupFilter, readable } from "./segment-fixture.ts";

const FIELDS = [100, 101, 102];

/** One row a key, the newest, by ascending key. */
function newestOfKeys(fixture: Fixture, rows: readonly number[]): number[] {
  const newest = new Map<PrimaryKey, number>();
  for (const row of rows) newest.set(fixture.rows[row]!.key, row);
  return [...newest].sort(([a], [b]) => compareKeys(a, b)).map(([, row]) => row);
}

/** Rows of one key and one timestamp are equally new: which of them counts is open. */
function isWithoutTwin({ rows }: Fixture, row: number): boolean {
  const { key, ts } = rows[row]!;
  return rows.filter((other) => other.key === key && other.ts === ts).length === 1;
}

async function query(fixture: Fixture, rest: Partial<Parameters<typeof querySegment>[1]>) {
  const options = {
    filter: null,
    fieldIds: FIELDS,
    limit: null,
    countOnly: false,
    readTs: fixture.maxTs,
    clock: systemClock,
  };
  return querySegment(fixture.segment, { ...options, ...rest });
}

function expectRows(fixture: Fixture, found: Awaited<ReturnType<typeof query>>, expected: readonly number[]): void {
  const rows = found.rows === null ? [] : rowsOf(found.rows.batch, fixture.schema.fields);
  expect(rows.map((row) => ({ key: row[100], vector: row[101], group: row[102] }))).toEqual(
    // Rows of one key and one timestamp are equally new: which of them is given is open, so the fixture's key decides.
    expected.map((row, i) => {
      const { key, ts } = fixture.rows[row]!;
      expect(found.rows!.timestamps[i]).toBe(ts);
      expect(keyAt(found.rows!.keys, i)).toBe(key);
      const twins = fixture.rows.filter((twin) => twin.key === key && twin.ts === ts);
      const cell = rows[i]!;
      const twin = twins.find(({ vector, group }) => group === cell[102] && vector.join() === String(cell[101]));
      return { key: typeof key === "number" ? BigInt(key) : key, vector: twin?.vector, group: twin?.group };
    }),
  );
}

const cases = fc.record({
  rowCount: fc.integer({ min: 1, max: 80 }),
  keyKind: fc.constantFrom("int64" as const, "varchar" as const),
  seed: fc.nat(),
  groups: fc.option(fc.subarray([0, 1, 2, 3, 4, 5, 99], { minLength: 1 })),
  at: fc.nat(10),
  /** How much of what was there at the read's time has expired, in tenths. */
  expired: fc.oneof(fc.constant(0), fc.nat(10)),
  limit: fc.option(fc.integer({ min: 1, max: 30 })),
});

describe("querySegment", () => {
  it("gives the newest row of each key that the read may see, smallest keys first, up to the limit", async () => {
    await fc.assert(
      fc.asyncProperty(cases, async ({ rowCount, keyKind, seed, groups, at, expired, limit }) => {
        const fixture = buildSegment({ rowCount, keyKind, seed, keyCount: 15 });
        const readTs = (fixture.maxTs * BigInt(at)) / 10n;
        const expiredTs = (readTs * BigInt(expired)) / 10n;
        const rows = readable(fixture, readTs, groups, expiredTs);
        const options = { filter: groupFilter(fixture, groups), readTs, expiredTs, limit };
        const found = await query(fixture, options);
        expect(found.count).toBe(rows.length);
        expectRows(fixture, found, newestOfKeys(fixture, rows).slice(0, limit ?? undefined));
        expect(await query(fixture, { ...options, countOnly: true })).toEqual({ count: rows.length, rows: null });
      }),
      { numRuns: 150 },
    );
  });

  it("gives the newest row of each key in the order asked for, equal ones by their keys", async () => {
    await fc.assert(
      fc.asyncProperty(cases, fc.boolean(), async (one, isDescending) => {
        const { rowCount, keyKind, seed, groups, at, expired, limit } = one;
        const fixture = buildSegment({ rowCount, keyKind, seed, keyCount: 15 });
        const readTs = (fixture.maxTs * BigInt(at)) / 10n;
        const expiredTs = (readTs * BigInt(expired)) / 10n;
        const order = [{ fieldId: 102, isDescending }];
        const found = await query(fixture, { filter: groupFilter(fixture, groups), readTs, expiredTs, limit, order });
        const newest = newestOfKeys(fixture, readable(fixture, readTs, groups, expiredTs));
        const sign = isDescending ? -1 : 1;
        // The rows are by key, and sorting is stable.
        const expected = newest.sort((a, b) => sign * (fixture.rows[a]!.group - fixture.rows[b]!.group));
        const shown = found.rows === null ? [] : rowsOf(found.rows.batch, fixture.schema.fields).map((row) => row[102]);
        const twinless = expected.every((row) => isWithoutTwin(fixture, row));
        fc.pre(twinless);
        expect(shown).toEqual(expected.slice(0, limit ?? undefined).map((row) => fixture.rows[row]!.group));
        expectRows(fixture, found, expected.slice(0, limit ?? undefined));
      }),
      { numRuns: 150 },
    );
  });

  it("counts by group the rows that the read may see, each row of a key for itself", async () => {
    const aggregation = { groupBy: [{ fieldId: 102 }], functions: [{ op: "count" as const }] };
    await fc.assert(
      fc.asyncProperty(cases, async ({ rowCount, keyKind, seed, groups, at, expired }) => {
        const fixture = buildSegment({ rowCount, keyKind, seed, keyCount: 15 });
        const readTs = (fixture.maxTs * BigInt(at)) / 10n;
        const expiredTs = (readTs * BigInt(expired)) / 10n;
        const found = await query(fixture, { filter: groupFilter(fixture, groups), readTs, expiredTs, aggregation });
        const expected = new Map<number, number>();
        for (const row of readable(fixture, readTs, groups, expiredTs)) {
          const { group } = fixture.rows[row]!;
          expected.set(group, (expected.get(group) ?? 0) + 1);
        }
        const { keys, counts, groupCount } = found.groups!;
        const counted = Array.from({ length: groupCount }, (_, g) => [Number(keys[0]![g]), counts[0]![g]] as const);
        expect(new Map(counted)).toEqual(expected);
      }),
      { numRuns: 150 },
    );
  });

  it("looks keys up as a scan would find them, whether they are there, deleted, repeated or absent", async () => {
    const keyLists = fc.array(fc.nat(20), { minLength: 1, maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(cases, keyLists, async ({ rowCount, keyKind, seed, at, limit }, numbers) => {
        const fixture = buildSegment({ rowCount, keyKind, seed, keyCount: 15 });
        const readTs = (fixture.maxTs * BigInt(at)) / 10n;
        const keys = numbers.map((n): PrimaryKey => (keyKind === "int64" ? n : `k${n}`));
        const filter = planFilter(`id in ${JSON.stringify(keys)}`, fixture.schema);
        const rows = readable(fixture, readTs, null).filter((row) => keys.includes(fixture.rows[row]!.key));
        const found = await query(fixture, { filter, readTs, limit });
        expect(found.count).toBe(rows.length);
        expectRows(fixture, found, newestOfKeys(fixture, rows).slice(0, limit ?? undefined));
      }),
      { numRuns: 150 },
    );
  });

  it("reads several chunks, by scan and by key", async () => {
    const fixture = buildSegment({ rowCount: 2 * CHUNK_ROWS + 50, keyKind: "int64", seed: 3, keyCount: 12_000 });
    const rows = readable(fixture, fixture.maxTs, [7]);
    const scanned = await query(fixture, { filter: groupFilter(fixture, [7]) });
    expect(scanned.count).toBe(rows.length);
    expect(columnRows(scanned.rows!.keys)).toBe(newestOfKeys(fixture, rows).length);
    const key = fixture.rows[readable(fixture, fixture.maxTs, null).at(-1)!]!.key;
    const looked = await query(fixture, { filter: planFilter(`id == ${key}`, fixture.schema) });
    const ofKey = readable(fixture, fixture.maxTs, null).filter((row) => fixture.rows[row]!.key === key);
    expectRows(fixture, looked, newestOfKeys(fixture, ofKey));
    expect(looked.count).toBe(ofKey.length);
  });

  it("gives only the fields asked for", async () => {
    const fixture = buildSegment({ rowCount: 5, keyKind: "int64", seed: 1, keyCount: 1000 });
    const { rows } = await query(fixture, { fieldIds: [102] });
    expect(Object.keys(rows!.batch.columns)).toEqual(["102"]);
  });
});

describe("rowsOfSegment", () => {
  it("gives rows of any chunk in the order asked", () => {
    const fixture = buildSegment({ rowCount: CHUNK_ROWS + 10, keyKind: "int64", seed: 2, keyCount: 1e6 });
    const wanted = [CHUNK_ROWS + 9, 0, CHUNK_ROWS - 1, CHUNK_ROWS, 0];
    const batch = rowsOfSegment(fixture.segment, Uint32Array.from(wanted), [100]);
    const keys = rowsOf(batch, fixture.schema.fields).map((row) => Number(row[100]));
    expect(keys).toEqual(wanted.map((row) => fixture.rows[row]!.key));
  });
});
