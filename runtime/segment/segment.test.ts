import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  ALL_FIELDS,
  batchOf,
  columnOf,
  KEY_FIELD,
  type ModelField,
  type ModelRow,
  rowsArbitrary,
  rowsOf,
} from "../testing/column-rows.ts";
import { seededNumbers } from "../testing/vectors.ts";
import { bitsetRows, countBits } from "./bitset.ts";
import { type KeyColumn, keysOf } from "./keys.ts";
import { CHUNK_ROWS, type Chunk, Segment } from "./segment.ts";

interface TimedRow {
  row: ModelRow;
  ts: bigint;
}

interface Delete {
  key: unknown;
  ts: bigint;
}

/** Fields that exist only from some moment on, as after a change of the schema. */
const LATE_FIELDS = [105, 109, 111];
const EARLY = ALL_FIELDS.filter(({ fieldId }) => !LATE_FIELDS.includes(fieldId));

function newSegment(keyKind: KeyColumn["kind"] = "int64"): Segment {
  return new Segment({ segmentId: "S".repeat(26), partitionId: 1, keyFieldId: KEY_FIELD.fieldId, keyKind });
}

/** The one rule of visibility, as the design says it. */
function isVisible({ row, ts }: TimedRow, deletes: readonly Delete[], readTs: bigint, expiredTs = 0n): boolean {
  const key = row[KEY_FIELD.fieldId];
  return expiredTs <= ts && ts <= readTs && !deletes.some((d) => d.key === key && ts < d.ts && d.ts <= readTs);
}

function visibleRows(segment: Segment, chunks: readonly Chunk[], readTs: bigint, expiredTs?: bigint): number[] {
  return chunks.flatMap((chunk) => {
    const bits = segment.visible(chunk, { readTs, expiredTs });
    const rows = bits === null ? Array.from({ length: chunk.batch.rowCount }, (_, row) => row) : [...bitsetRows(bits)];
    return rows.map((row) => chunk.firstRow + row);
  });
}

function chunkRows(chunks: readonly Chunk[], fields: readonly ModelField[] = ALL_FIELDS): TimedRow[] {
  return chunks.flatMap(({ batch, timestamps }) => {
    expect(timestamps.length).toBe(batch.rowCount);
    return rowsOf(batch, fields).map((row, i) => ({ row, ts: timestamps[i]! }));
  });
}

const key = fc.bigInt({ min: 0n, max: 5n });
/** Keys are few, so that rows share them. */
const someRows = rowsArbitrary(ALL_FIELDS, { minLength: 1, maxLength: 5 }).chain((rows) =>
  fc
    .array(key, { minLength: rows.length, maxLength: rows.length })
    .map((keys) => rows.map((row, i): ModelRow => ({ ...row, [KEY_FIELD.fieldId]: keys[i]! }))),
);
const steps = fc.array(
  fc.oneof(
    fc.record({ do: fc.constant("append" as const), rows: someRows, later: fc.nat(3) }),
    fc.record({
      do: fc.constant("delete" as const),
      keys: fc.array(key, { minLength: 1, maxLength: 3 }),
      ago: fc.nat(6),
    }),
    fc.record({ do: fc.constant("look" as const) }),
  ),
  { maxLength: 14 },
);

describe("Segment", () => {
  it("holds what was appended, shows what the rule of visibility says at any time, and leaves earlier views alone", () => {
    fc.assert(
      fc.property(steps, fc.nat(6), (list, appendsBeforeLate) => {
        const segment = newSegment();
        const rows: TimedRow[] = [];
        const deletes: Delete[] = [];
        const looks: { chunks: readonly Chunk[]; count: number }[] = [];
        let now = 1n;
        let appends = 0;
        for (const step of list) {
          if (step.do === "append") {
            const isEarly = appends++ < appendsBeforeLate;
            const late = isEarly ? Object.fromEntries(LATE_FIELDS.map((id) => [id, null])) : {};
            now += BigInt(step.later);
            segment.append(batchOf(isEarly ? EARLY : ALL_FIELDS, step.rows), now);
            rows.push(...step.rows.map((row) => ({ row: { ...row, ...late }, ts: now })));
          } else if (step.do === "delete") {
            const ts = now - BigInt(step.ago) + 1n;
            const keys = keysOf("int64", step.keys);
            step.keys.forEach((deleted, i) => {
              segment.delete(keys, i, ts);
              deletes.push({ key: deleted, ts });
            });
            // Rows after it in the log have greater timestamps.
            if (ts > now) now = ts;
          } else {
            looks.push({ chunks: segment.chunks, count: rows.length });
          }
        }
        expect(segment.rowCount).toBe(rows.length);
        expect(chunkRows(segment.chunks)).toEqual(rows);
        for (const { chunks, count } of looks) expect(chunkRows(chunks)).toEqual(rows.slice(0, count));
        for (let readTs = -1n; readTs <= now + 1n; readTs++) {
          const expected = rows.flatMap((row, i) => (isVisible(row, deletes, readTs) ? [i] : []));
          expect(visibleRows(segment, segment.chunks, readTs)).toEqual(expected);
          for (const { chunks, count } of looks) {
            expect(visibleRows(segment, chunks, readTs)).toEqual(expected.filter((row) => row < count));
          }
          for (const expiredTs of [1n, 2n, readTs, now]) {
            expect(visibleRows(segment, segment.chunks, readTs, expiredTs)).toEqual(
              rows.flatMap((row, i) => (isVisible(row, deletes, readTs, expiredTs) ? [i] : [])),
            );
          }
        }
        const loaded = newSegment();
        for (const { batch, timestamps } of segment.chunks) loaded.appendChunk(batch, timestamps);
        const deleted = segment.deletedRows();
        deleted.rows.forEach((row, i) => {
          loaded.deleteRow(row, deleted.timestamps[i]!);
        });
        for (let readTs = -1n; readTs <= now + 1n; readTs++) {
          expect(visibleRows(loaded, loaded.chunks, readTs)).toEqual(visibleRows(segment, segment.chunks, readTs));
        }
        rows.forEach(({ ts }, row) => {
          expect(segment.timestampOf(row)).toBe(ts);
        });
        expect([segment.minTs, segment.maxTs]).toEqual([rows[0]?.ts ?? 0n, rows.at(-1)?.ts ?? 0n]);
        expect(segment.deletedCount).toBe(rows.filter((row) => !isVisible(row, deletes, now + 9n)).length);
      }),
      { numRuns: 150 },
    );
  });

  it("does not depend on the order in which deletes arrive, nor on how often", () => {
    const deletes = fc.array(fc.record({ key, ts: fc.bigInt({ min: 0n, max: 12n }) }), { maxLength: 8 });
    const orders = deletes.chain((list) =>
      fc.tuple(fc.constant(list), fc.shuffledSubarray([...list, ...list], { minLength: list.length * 2 })),
    );
    fc.assert(
      fc.property(fc.array(key, { maxLength: 12 }), orders, (keys, [list, shuffled]) => {
        const rows = keys.map((id, i): TimedRow => ({ row: { [KEY_FIELD.fieldId]: id }, ts: BigInt(i) }));
        const loaded = newSegment();
        const column = columnOf(KEY_FIELD, keys);
        loaded.appendChunk(
          { rowCount: rows.length, columns: { [KEY_FIELD.fieldId]: column } },
          BigInt64Array.from(rows, ({ ts }) => ts),
        );
        for (const d of shuffled) loaded.delete(keysOf("int64", [d.key]), 0, d.ts);
        for (let readTs = 0n; readTs <= 13n; readTs++) {
          const expected = rows.flatMap((row, i) => (isVisible(row, list, readTs) ? [i] : []));
          expect(visibleRows(loaded, loaded.chunks, readTs)).toEqual(expected);
        }
      }),
    );
  });

  for (const keyKind of ["int64", "varchar"] as const) {
    it(`agrees with the rule over several chunks of ${keyKind} keys, grown and loaded`, () => {
      const next = seededNumbers(7);
      const below = (limit: number) => Math.floor(next() * limit);
      const keyField: ModelField = { ...KEY_FIELD, type: keyKind === "int64" ? "Int64" : "VarChar" };
      const keyOf = (n: number) => (keyKind === "int64" ? BigInt(n) : `key ${n}`);
      const grown = newSegment(keyKind);
      const rows: TimedRow[] = [];
      const deletes: Delete[] = [];
      for (let ts = 1n; rows.length < 3 * CHUNK_ROWS; ts++) {
        // Batches larger than a chunk, and ones that end exactly with it.
        const count =
          ts === 3n ? CHUNK_ROWS - (rows.length % CHUNK_ROWS) : 1 + below(ts === 5n ? 2 * CHUNK_ROWS : 3000);
        const batch = Array.from({ length: count }, (): ModelRow => ({ [keyField.fieldId]: keyOf(below(4000)) }));
        grown.append(batchOf([keyField], batch), ts);
        for (const row of batch) rows.push({ row, ts });
        const gone = Array.from({ length: below(40) }, () => keyOf(below(4100)));
        const column = keysOf(keyKind, gone as string[]);
        gone.forEach((deleted, i) => {
          grown.delete(column, i, ts);
          deletes.push({ key: deleted, ts });
        });
      }
      const loaded = newSegment(keyKind);
      for (const { batch, timestamps } of grown.chunks) loaded.appendChunk(batch, timestamps);
      for (const d of [...deletes].reverse()) loaded.delete(keysOf(keyKind, [d.key as string]), 0, d.ts);

      const deletesOf = new Map<unknown, Delete[]>();
      for (const d of deletes) deletesOf.set(d.key, [...(deletesOf.get(d.key) ?? []), d]);
      for (const segment of [grown, loaded]) {
        expect(chunkRows(segment.chunks, [keyField])).toEqual(rows);
        expect(segment.chunks.slice(0, -1).every(({ batch }) => batch.rowCount === CHUNK_ROWS)).toBe(true);
        for (const readTs of [0n, 1n, 4n, 6n, 9n, 1000n]) {
          const expected = rows.flatMap((timed, i) =>
            isVisible(timed, deletesOf.get(timed.row[keyField.fieldId]) ?? [], readTs) ? [i] : [],
          );
          const visible = visibleRows(segment, segment.chunks, readTs);
          expect(
            Buffer.compare(
              Buffer.from(Uint32Array.from(visible).buffer),
              Buffer.from(Uint32Array.from(expected).buffer),
            ),
          ).toBe(0);
        }
        for (let n = 0; n < 4100; n += 97) {
          const found: number[] = [];
          segment.findKey(keysOf(keyKind, [keyOf(n) as string]), 0, found);
          const expected = rows.flatMap(({ row }, i) => (row[keyField.fieldId] === keyOf(n) ? [i] : []));
          expect(found.reverse()).toEqual(expected);
        }
      }
    });
  }

  it("lets a scan that pauses go on over what was there when it began", () => {
    const segment = newSegment();
    const batch = (count: number) =>
      batchOf(
        [KEY_FIELD],
        Array.from({ length: count }, (_, i) => ({ 100: BigInt(i) })),
      );
    segment.append(batch(10), 1n);
    const { chunks } = segment;
    segment.append(batch(CHUNK_ROWS), 2n);
    expect(segment.chunks.map(({ batch: { rowCount } }) => rowCount)).toEqual([CHUNK_ROWS, 10]);
    expect(chunks.map(({ batch: { rowCount } }) => rowCount)).toEqual([10]);
  });

  it("gives the caller a bitset of its own, without bits beyond the chunk's rows", () => {
    const segment = newSegment();
    segment.append(
      batchOf(
        [KEY_FIELD],
        Array.from({ length: 70 }, (_, i) => ({ 100: BigInt(i) })),
      ),
      5n,
    );
    segment.delete(keysOf("int64", [3]), 0, 6n);
    const chunk = segment.chunks[0]!;
    const bits = segment.visible(chunk, { readTs: 10n })!;
    expect(countBits(bits)).toBe(69);
    bits.fill(0);
    expect(countBits(segment.visible(chunk, { readTs: 10n })!)).toBe(69);
  });

  it("says null, all rows, where nothing is hidden", () => {
    const segment = newSegment();
    segment.append(batchOf([KEY_FIELD], [{ 100: 1n }]), 5n);
    expect(segment.visible(segment.chunks[0]!, { readTs: 5n })).toBeNull();
    expect(segment.visible(segment.chunks[0]!, { readTs: 4n })).not.toBeNull();
  });

  it("takes a key that is written over and over without slowing down", () => {
    const segment = newSegment();
    const keys = keysOf("int64", [7]);
    const count = 3 * CHUNK_ROWS;
    let visits = 0;
    const timestampOf = segment.timestampOf.bind(segment);
    segment.timestampOf = (row) => {
      visits++;
      return timestampOf(row);
    };
    for (let i = 1; i <= count; i++) {
      segment.delete(keys, 0, BigInt(i));
      segment.append({ rowCount: 1, columns: { [KEY_FIELD.fieldId]: keys } }, BigInt(i));
    }
    expect(visits).toBeLessThan(3 * count);
    expect(visibleRows(segment, segment.chunks, BigInt(count))).toEqual([count - 1]);
    expect(visibleRows(segment, segment.chunks, 10_000n)).toEqual([9_999]);
  });

  it("counts the bytes of what it holds", () => {
    const segment = newSegment();
    segment.append(batchOf([KEY_FIELD], [{ 100: 1n }, { 100: 2n }]), 5n);
    segment.append(batchOf([KEY_FIELD], [{ 100: 3n }]), 6n);
    expect(segment.bytes).toBe(24);
  });

  it("counts vectors that rows do not have where others of their chunk have one", () => {
    const rows = (count: number, vectors: number[]) => ({
      rowCount: count,
      columns: {
        [KEY_FIELD.fieldId]: { kind: "int64" as const, values: new BigInt64Array(count) },
        ...(vectors.length > 0 && {
          101: { kind: "floatVector" as const, dimension: 4, values: Float32Array.from(vectors) },
        }),
      },
    });
    const segment = newSegment();
    segment.append(rows(10, []), 1n);
    expect(segment.bytes).toBe(80);
    segment.append(rows(1, [1, 2, 3, 4]), 2n);
    segment.append(rows(5, []), 3n);
    expect(segment.bytes).toBe(16 * (8 + 16));
    const { values } = segment.chunks[0]!.batch.columns[101] as { values: Float32Array };
    expect(values.byteLength).toBe(16 * 16);
  });
});
