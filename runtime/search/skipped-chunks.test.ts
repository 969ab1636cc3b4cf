/** Chunks that are passed over because no row of them can match: what is found is what a look at every row finds. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { batchOf, type Row, schema } from "../expr/filter-fixture.ts";
import { type Condition, condition, row } from "../expr/filter-model.ts";
import { planFilter } from "../expr/plan.ts";
import { allowIndexes, type FilterTally } from "../scalar-index/segment-cache.ts";
import type { FieldSchema } from "../schema.ts";
import { bitsetRows, fullBitset } from "../segment/bitset.ts";
import type { BytesColumn, Int64Column } from "../segment/column.ts";
import { defaultsOf } from "../segment/default-columns.ts";
import { keysOf } from "../segment/keys.ts";
import { CHUNK_ROWS, Segment } from "../segment/segment.ts";
import { systemClock as clock } from "../system-clock.ts";
import { seededNumbers } from "../testing/vectors.ts";
import { allowedRows, prepareRows } from "./allowed-rows.ts";
import { allowedChunks, joinedRows } from "./scan-segment.ts";

const SNAPSHOT = { readTs: 9n };

/** Whoever names a value of a field first has the rows read: the next one finds filters made. */
const FIRST =
  "s == 'nothing' or t == 'nothing' or body == 'nothing' or i64 == 12345 or id == 12345 or ts == ISO '1999-01-01T00:00:00Z'";

async function rowsFound(segment: Segment, text: string, templateValues = {}): Promise<number[]> {
  const plan = planFilter(text, schema, { purpose: "query", templateValues });
  const found: number[] = [];
  for (const chunk of segment.chunks) {
    if (!(await prepareRows(segment, chunk, plan, { clock }))) continue;
    const allowed = allowedRows(segment, chunk, SNAPSHOT, plan);
    found.push(...bitsetRows(allowed ?? fullBitset(chunk.batch.rowCount)).map((at) => chunk.firstRow + at));
  }
  return found;
}

function newSegment(): Segment {
  return new Segment({ segmentId: "0".repeat(26), partitionId: 1, keyFieldId: 100, keyKind: "int64" });
}

test("random filters find the rows that the model says, in a segment that takes rows and in one that does not", async () => {
  const rows = fc.array(row, { minLength: 1, maxLength: 70 });
  const check = async ({ text, test: matches }: Condition, given: Row[], isSealed: boolean) => {
    const segment = newSegment();
    segment.append(batchOf(given), 1n);
    if (isSealed) allowIndexes(segment, () => true);
    await rowsFound(segment, FIRST);
    const expected = given.flatMap((each, i) => (matches(each) === true ? [i] : []));
    expect(await rowsFound(segment, text), text).toEqual(expected);
  };
  await fc.assert(fc.asyncProperty(condition, rows, fc.boolean(), check), { numRuns: 500 });
});

const CHUNKS = 3;
const TOTAL = CHUNKS * CHUNK_ROWS;

interface Large {
  segment: Segment;
  tally: FilterTally;
  ids: bigint[];
  texts: (string | null)[];
  numbers: (bigint | null)[];
}

/** Keys and values in no order; numbers also beyond 2^53; every seventh row without a text, every fifth without a number. */
function largeSegment(): Large {
  const next = seededNumbers(7);
  const random = () => (BigInt(Math.floor(next() * 2 ** 31)) << 32n) | BigInt(Math.floor(next() * 2 ** 32));
  const ids = Array.from({ length: TOTAL }, random);
  const texts = ids.map((id, i) => (i % 7 === 0 ? null : `text ${id % 100_000n}`));
  const numbers = ids.map((_, i) => (i % 5 === 0 ? null : random()));
  const segment = newSegment();
  for (let from = 0; from < TOTAL; from += CHUNK_ROWS) {
    const part = <T>(values: T[]) => values.slice(from, from + CHUNK_ROWS);
    const validity = (values: unknown[]) => {
      const valid = fullBitset(values.length);
      values.forEach((value, i) => {
        if (value === null) valid[i >>> 5] = valid[i >>> 5]! & ~(1 << (i & 31));
      });
      return valid;
    };
    const s: BytesColumn = {
      ...(keysOf(
        "varchar",
        part(texts).map((text) => text ?? ""),
      ) as BytesColumn),
      valid: validity(part(texts)),
    };
    const i64: Int64Column = {
      kind: "int64",
      values: BigInt64Array.from(part(numbers), (value) => value ?? 0n),
      valid: validity(part(numbers)),
    };
    const columns = { 100: keysOf("int64", part(ids)), 106: i64, 109: s };
    segment.appendChunk({ rowCount: CHUNK_ROWS, columns }, new BigInt64Array(CHUNK_ROWS).fill(1n));
  }
  const tally = { chunksRead: 0, chunksSkipped: 0 };
  allowIndexes(segment, () => true, tally);
  return { segment, tally, ids, texts, numbers };
}

test("values and keys that are there or not, alone and together, find what a look at each row finds", async () => {
  const { segment, ids, texts, numbers } = largeSegment();
  await rowsFound(segment, FIRST);
  const place = fc.nat(TOTAL - 1);
  const text = fc.oneof(
    place.map((i) => texts[i] ?? ""),
    fc.nat(999).map((n) => `absent ${n}`),
  );
  const number = fc.oneof(
    place.map((i) => numbers[i] ?? 0n),
    fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
  );
  const id = fc.oneof(
    place.map((i) => ids[i]!),
    fc.bigInt(-(2n ** 40n), 2n ** 40n),
  );
  /** True, false, or null where it is unknown. */
  type Leaf = { text: string; test: (row: number) => boolean | null };
  const listed = (name: string, values: string, test: Leaf["test"]): Leaf[] => [
    { text: `${name} in [${values}]`, test },
    { text: `${name} not in [${values}]`, test: (i) => negated(test(i)) },
    { text: `not (${name} in [${values}])`, test: (i) => negated(test(i)) },
  ];
  const negated = (value: boolean | null) => (value === null ? null : !value);
  const isIn = (values: readonly unknown[], value: unknown) => (value === null ? null : values.includes(value));
  const leaf = fc
    .oneof(
      fc.array(text, { minLength: 1, maxLength: 70 }).map((values) => {
        const shown = values.map((value) => `'${value}'`).join();
        return listed("s", shown, (i) => isIn(values, texts[i]!));
      }),
      fc.array(number, { minLength: 1, maxLength: 70 }).map((values) => {
        return listed("i64", values.join(), (i) => isIn(values, numbers[i]!));
      }),
      fc.array(id, { minLength: 1, maxLength: 70 }).map((values) => {
        return listed("id", values.join(), (i) => isIn(values, ids[i]!));
      }),
      text.map((value): Leaf[] => [
        { text: `s == '${value}'`, test: (i) => isIn([value], texts[i]!) },
        { text: `s != '${value}'`, test: (i) => negated(isIn([value], texts[i]!)) },
      ]),
      id.map((value): Leaf[] => [
        { text: `id == ${value}`, test: (i) => ids[i] === value },
        { text: `id != ${value}`, test: (i) => ids[i] !== value },
      ]),
    )
    .chain((leaves) => fc.constantFrom(...leaves));
  const check = async (a: Leaf, b: Leaf, operator: "and" | "or") => {
    const matches = (i: number) =>
      operator === "and" ? a.test(i) === true && b.test(i) === true : a.test(i) === true || b.test(i) === true;
    const expected = Array.from({ length: TOTAL }, (_, i) => i).filter(matches);
    const filter = `(${a.text}) ${operator} (${b.text})`;
    const found = await rowsFound(segment, filter);
    // Compared as texts: long lists that are equal need no explanation.
    if (found.join() !== expected.join()) expect({ filter, found }).toEqual({ filter, found: expected });
  };
  await fc.assert(fc.asyncProperty(leaf, leaf, fc.constantFrom("and", "or"), check), { numRuns: 60 });
});

test("a value or a key that a segment has not got skips its chunks, one that it has all but few others", async () => {
  const { segment, tally, ids, texts } = largeSegment();
  await rowsFound(segment, FIRST);
  const asked = async (filter: (i: number) => string) => {
    Object.assign(tally, { chunksRead: 0, chunksSkipped: 0 });
    for (let i = 1; i <= 20; i++) await rowsFound(segment, filter(i));
    return tally.chunksSkipped;
  };
  expect(await asked((i) => `s == 'absent ${i}'`)).toBeGreaterThanOrEqual(57);
  expect(await asked((i) => `s in ['absent ${i}', 'no ${i}'] and i64 > 0`)).toBeGreaterThanOrEqual(54);
  expect(await asked((i) => `s == '${texts[TOTAL - i * 7 - 1]}'`)).toBeGreaterThan(20);
  expect(await asked((i) => `id == ${i}`)).toBe(60);
  expect(await asked((i) => `id == ${ids[i]} and i64 != 3`)).toBe(40);
  expect(await asked((i) => `not (s == 'absent ${i}')`)).toBe(0);
  expect(await asked((i) => `s == 'absent ${i}' or id != ${i}`)).toBe(0);
});

test("lists from templates skip chunks as well", async () => {
  const { segment, tally } = largeSegment();
  await rowsFound(segment, FIRST);
  await rowsFound(segment, "s in {names}", { names: ["nobody", "no one"] });
  expect(tally.chunksSkipped).toBe(CHUNKS);
});

test("a search is told of chunks that were skipped as of chunks in which no row matches", async () => {
  const { segment } = largeSegment();
  const options = { ...SNAPSHOT, clock, filter: planFilter("id == 5 and s is not null", schema) };
  const chunks = await allowedChunks(segment, options);
  expect(joinedRows(chunks, segment.rowCount)).toMatchObject({ count: 0 });
});

test("rows that have a default since their values were looked at are found by it", async () => {
  const { segment } = largeSegment();
  await rowsFound(segment, FIRST);
  expect(await rowsFound(segment, "s == 'unnamed'")).toEqual([]);
  const field = { ...schema.fields.find(({ name }) => name === "s")!, defaultValue: "unnamed" } as FieldSchema;
  segment.complete(defaultsOf({ fields: [field] }));
  expect((await rowsFound(segment, "s in ['unnamed', 'nobody']")).length).toBe(Math.ceil(TOTAL / 7));
});

test("without room no filter of values is made, and rows are read", async () => {
  const { segment, texts } = largeSegment();
  const tally = { chunksRead: 0, chunksSkipped: 0 };
  allowIndexes(segment, () => false, tally);
  for (const name of ["nobody", "no one", texts[1]]) await rowsFound(segment, `s == '${name}'`);
  expect(tally).toEqual({ chunksRead: 3 * CHUNKS, chunksSkipped: 0 });
});
