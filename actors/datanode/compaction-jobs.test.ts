/** The two jobs of compaction over objects in a map, against rows as plain values. */
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import type { DeltaDoc, SegmentDoc } from "../../runtime/protocol/catalog.ts";
import type { CompactSegments } from "../../runtime/protocol/data.ts";
import type { CollectionSchema, FieldSchema } from "../../runtime/schema.ts";
import { readSegmentFile, writeSegmentFile } from "../../runtime/segment/arrow-file.ts";
import { readDeletedRows, writeDeletedKeys, writeDeletedRows } from "../../runtime/segment/delete-files.ts";
import { keysOf } from "../../runtime/segment/keys.ts";
import { CHUNK_ROWS, Segment } from "../../runtime/segment/segment.ts";
import {
  ALL_FIELDS,
  batchOf,
  KEY_FIELD,
  type ModelField,
  type ModelRow,
  rowsArbitrary,
  rowsOf,
} from "../../runtime/testing/column-rows.ts";
import { ManualClock } from "../../runtime/testing/manual-clock.ts";
import { compactShardSegments } from "./compact-segments.ts";
import { distributeShardDeletes } from "./distribute-deletes.ts";
import type { JobTools } from "./job-inputs.ts";

interface Timed {
  row: ModelRow;
  ts: bigint;
}

interface Delete {
  key: bigint;
  ts: bigint;
}

/** A segment as it was flushed at `flushedAt`: it has the deletes before that among its own. */
interface Input {
  rows: Timed[];
  flushedAt: bigint;
}

function schemaOf(fields: readonly ModelField[]): CollectionSchema {
  const all = fields.map(
    (field): FieldSchema => ({ description: "", isDynamic: false, ...field, isPrimary: field === KEY_FIELD }),
  );
  return { version: 1, autoId: false, enableDynamicField: false, fields: all };
}

class Store {
  readonly objects = new Map<string, Uint8Array>();
  /** Most bytes of objects that were written to at once and not finished. */
  readonly tools: JobTools;
  #ids = 0;

  constructor() {
    this.tools = {
      clock: Object.assign(new ManualClock(), { yield: () => Promise.resolve() }),
      random: { ulid: () => String(++this.#ids).padStart(26, "0") },
      signal: new AbortController().signal,
      blobs: {
        put: async (name: string, content: AsyncIterable<Uint8Array>) => {
          expect(this.objects.has(name)).toBe(false);
          const parts: Uint8Array[] = [];
          for await (const part of content) parts.push(part.slice());
          const bytes = new Uint8Array(Buffer.concat(parts));
          this.objects.set(name, bytes);
          return { name, bytes: bytes.length, digest: "" };
        },
        get: async ({ name }: { name: string }) => this.objects.get(name)!,
      },
    } as unknown as JobTools;
  }

  async segment(fields: readonly ModelField[], input: Input, deletes: readonly Delete[]): Promise<SegmentDoc> {
    const { rows, flushedAt } = input;
    const { clock, blobs, random } = this.tools;
    const segmentId = random.ulid();
    const chunks = [];
    for (let start = 0; start < rows.length; start += CHUNK_ROWS) {
      const part = rows.slice(start, start + CHUNK_ROWS);
      const batch = batchOf(
        fields,
        part.map(({ row }) => row),
      );
      chunks.push({ batch, timestamps: BigInt64Array.from(part, ({ ts }) => ts) });
    }
    const object = await blobs.put(segmentId, writeSegmentFile(fields, chunks, clock));
    const doc: SegmentDoc = {
      segmentId,
      partitionId: 7,
      rowCount: rows.length,
      minTs: rows[0]!.ts,
      maxTs: rows.at(-1)!.ts,
      object,
      indexes: {},
      deletesSeq: Number(flushedAt),
    };
    const own = rows.flatMap((timed, row) => {
      const ts = deletedAt(
        timed,
        deletes.filter((d) => d.ts <= flushedAt),
      );
      return ts === undefined ? [] : [{ row, ts }];
    });
    if (own.length === 0) return doc;
    const deleted = {
      rows: Int32Array.from(own, ({ row }) => row),
      timestamps: BigInt64Array.from(own, ({ ts }) => ts),
    };
    const ownObject = await blobs.put(`${segmentId}.deletes`, writeDeletedRows(deleted, clock));
    return { ...doc, deletes: { object: ownObject, rowCount: own.length } };
  }

  async deltas(deletes: readonly Delete[]): Promise<DeltaDoc[]> {
    const { clock, blobs, random } = this.tools;
    if (deletes.length === 0) return [];
    const keys = keysOf(
      "int64",
      deletes.map(({ key }) => key),
    );
    const parts = [{ keys, timestamps: BigInt64Array.from(deletes, ({ ts }) => ts) }];
    const object = await blobs.put(random.ulid(), writeDeletedKeys(KEY_FIELD, parts, clock));
    const throughTs = deletes.at(-1)!.ts;
    return [{ object, rowCount: deletes.length, throughSeq: Number(throughTs), throughTs }];
  }

  rows(fields: readonly ModelField[], { object }: SegmentDoc): Timed[] {
    const chunks = readSegmentFile(this.objects.get(object.name)!);
    expect(chunks.slice(0, -1).every(({ batch }) => batch.rowCount === CHUNK_ROWS)).toBe(true);
    return chunks.flatMap(({ batch, timestamps }) =>
      rowsOf(batch, fields).map((row, i) => ({ row, ts: timestamps[i]! })),
    );
  }
}

/** The earliest delete that covers a row. */
function deletedAt({ row, ts }: Timed, deletes: readonly Delete[]): bigint | undefined {
  return deletes
    .filter((d) => d.key === row[KEY_FIELD.fieldId] && d.ts > ts)
    .map((d) => d.ts)
    .sort((a, b) => (a < b ? -1 : 1))[0];
}

function jobOf(segments: SegmentDoc[], deltas: DeltaDoc[], rest: Partial<CompactSegments> = {}): CompactSegments {
  const base = { epoch: 3, attempt: "a", collectionId: 1, vchannel: "1v0", deltaSeq: 1000, targetBytes: 1e9 };
  return { ...base, segments, deltas, ...rest };
}

const key = fc.bigInt({ min: 0n, max: 6n });
const inputArbitrary = (fields: readonly ModelField[]) =>
  fc
    .record({
      rows: rowsArbitrary(fields, { minLength: 1, maxLength: 8 }),
      keys: fc.array(key, { minLength: 8, maxLength: 8 }),
      from: fc.bigInt({ min: 1n, max: 30n }),
      gaps: fc.array(fc.bigInt({ min: 0n, max: 3n }), { minLength: 8, maxLength: 8 }),
      flushedAt: fc.bigInt({ min: 0n, max: 60n }),
    })
    .map(({ rows, keys, from, gaps, flushedAt }): Input => {
      let ts = from;
      const timed = rows.map((row, i) => {
        ts += gaps[i]!;
        return { row: { ...row, [KEY_FIELD.fieldId]: keys[i]! }, ts };
      });
      return { rows: timed, flushedAt: flushedAt > ts ? flushedAt : ts };
    });
const deletesArbitrary = fc
  .array(fc.record({ key, ts: fc.bigInt({ min: 1n, max: 80n }) }), { maxLength: 12 })
  .map((deletes) => [...deletes].sort((a, b) => (a.ts < b.ts ? -1 : 1)));

describe("merge compaction", () => {
  it("keeps the live rows of every type in the order of time, whatever overlaps, and leaves the others out", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(inputArbitrary(ALL_FIELDS), { minLength: 1, maxLength: 4 }),
        deletesArbitrary,
        fc.option(fc.bigInt({ min: 1n, max: 40n })),
        async (inputs, deletes, beforeTs) => {
          const store = new Store();
          const segments = await Promise.all(inputs.map((input) => store.segment(ALL_FIELDS, input, deletes)));
          const job = jobOf(segments, await store.deltas(deletes), {
            ...(beforeTs === null ? {} : { expiry: { beforeTs, nowTs: 500n } }),
          });
          const { segments: made, purgedTs } = await compactShardSegments(store.tools, schemaOf(ALL_FIELDS), job);

          const all = inputs.flatMap(({ rows }) => rows);
          const isExpired = ({ ts }: Timed) => beforeTs !== null && ts < beforeTs;
          const live = all.filter((timed) => !isExpired(timed) && deletedAt(timed, deletes) === undefined);
          const got = made.flatMap((doc) => store.rows(ALL_FIELDS, doc));
          const text = ({ row, ts }: Timed) =>
            JSON.stringify([ts, row], (_, value) =>
              typeof value === "bigint" ? `${value}n` : Object.is(value, -0) ? "-0" : value,
            );
          // Rows of one time come in any order of their segments.
          expect(got.map(text).sort()).toEqual(live.map(text).sort());
          expect(got.every(({ ts }, i) => i === 0 || got[i - 1]!.ts <= ts)).toBe(true);
          for (const doc of made) {
            const rows = store.rows(ALL_FIELDS, doc);
            expect(doc).toMatchObject({ partitionId: 7, deletesSeq: 1000, indexes: {}, rowCount: rows.length });
            expect([doc.minTs, doc.maxTs]).toEqual([rows[0]!.ts, rows.at(-1)!.ts]);
            expect(doc.object.name).toMatch(/^compacted\/1v0\/3\/a-/);
          }
          const gone = all.map((timed) => deletedAt(timed, deletes)).filter((ts) => ts !== undefined);
          const expected = all.some(isExpired) ? 500n : gone.reduce((a, b) => (a > b ? a : b), 0n);
          expect(purgedTs ?? 0n).toBe(expected);
        },
      ),
      { numRuns: 150 },
    );
  });

  it("makes chunks whole, and cuts at the target size", async () => {
    const store = new Store();
    const fields = [KEY_FIELD];
    const inputOf = (first: number, count: number): Input => ({
      rows: Array.from({ length: count }, (_, i) => ({ row: { 100: BigInt(first + i) }, ts: BigInt(first + i + 1) })),
      flushedAt: 1n,
    });
    const inputs = [inputOf(0, 20_000), inputOf(20_000, 5_000), inputOf(25_000, 9_000)];
    const segments = await Promise.all(inputs.map((input) => store.segment(fields, input, [])));
    const deletes = Array.from({ length: 3000 }, (_, i) => ({ key: BigInt(i * 11), ts: 1_000_000n }));
    const deltas = await store.deltas(deletes);
    const job = jobOf(segments, deltas, { targetBytes: 250_000 });
    const { segments: made } = await compactShardSegments(store.tools, schemaOf(fields), job);
    const deleted = new Set(deletes.map((d) => d.key));
    const live = inputs.flatMap(({ rows }) => rows).filter(({ row }) => !deleted.has(row[100] as bigint));
    expect(made.flatMap((doc) => store.rows(fields, doc))).toEqual(live);
    // 16 bytes a row: two chunks reach the target.
    expect(made.map(({ rowCount }) => rowCount)).toEqual([16_384, live.length - 16_384]);
  });

  it("writes no column of vectors that no row of the inputs has", async () => {
    const store = new Store();
    const vectors: ModelField = { fieldId: 101, name: "v", type: "FloatVector", dimension: 2, nullable: true };
    const fields = [KEY_FIELD, vectors];
    const inputOf = (key: bigint, vector: number[] | null): Input => ({
      rows: [{ row: { 100: key, 101: vector }, ts: key + 1n }],
      flushedAt: 100n,
    });
    const segmentOf = async (input: Input) => store.segment(fields, input, []);
    const merge = async (segments: SegmentDoc[]) => {
      const [made] = (await compactShardSegments(store.tools, schemaOf(fields), jobOf(segments, []))).segments;
      const [chunk] = readSegmentFile(store.objects.get(made!.object.name)!);
      return { made: made!, hasColumn: chunk!.batch.columns[101] !== undefined, rows: store.rows(fields, made!) };
    };
    const nulls = [await segmentOf(inputOf(1n, null)), await segmentOf(inputOf(2n, null))];
    // What an input does not tell is not known before it is read.
    const first = await merge(nulls);
    expect(first).toMatchObject({ made: { vectorFields: [] }, hasColumn: true });
    const second = await merge([first.made]);
    expect(second).toMatchObject({ made: { vectorFields: [] }, hasColumn: false, rows: first.rows });
    const third = await merge([second.made, await segmentOf(inputOf(3n, [1, 2]))]);
    expect(third).toMatchObject({ made: { vectorFields: [101], rowCount: 3 }, hasColumn: true });
    expect(third.rows.map(({ row }) => row[101])).toEqual([null, null, [1, 2]]);
  });

  it("makes nothing of rows that are all gone", async () => {
    const store = new Store();
    const input: Input = { rows: [{ row: { 100: 1n }, ts: 5n }], flushedAt: 5n };
    const segment = await store.segment([KEY_FIELD], input, []);
    const deltas = await store.deltas([{ key: 1n, ts: 6n }]);
    const result = await compactShardSegments(store.tools, schemaOf([KEY_FIELD]), jobOf([segment], deltas));
    expect(result).toMatchObject({ segments: [], purgedTs: 6n });
  });

  it("reports a segment whose rows are not those of the manifest", async () => {
    const store = new Store();
    const segment = await store.segment([KEY_FIELD], { rows: [{ row: { 100: 1n }, ts: 5n }], flushedAt: 5n }, []);
    const job = jobOf([{ ...segment, rowCount: 2 }], []);
    await expect(compactShardSegments(store.tools, schemaOf([KEY_FIELD]), job)).rejects.toMatchObject({
      kind: "corrupt",
    });
  });
});

describe("clustering compaction", () => {
  const TYPES = ["Int8", "Int16", "Int32", "Int64", "Float", "Double", "VarChar"];
  const keys = ALL_FIELDS.filter(({ type }) => TYPES.includes(type));

  it("gives each segment a range of the key's values, and keeps the live rows, whatever the type, in the order of time", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(inputArbitrary(ALL_FIELDS), { minLength: 1, maxLength: 5 }),
        deletesArbitrary,
        fc.constantFrom(...keys),
        fc.integer({ min: 2_000, max: 60_000 }),
        async (inputs, deletes, { fieldId, type }, targetBytes) => {
          const store = new Store();
          const segments = await Promise.all(inputs.map((input) => store.segment(ALL_FIELDS, input, deletes)));
          const job = jobOf(segments, await store.deltas(deletes), { targetBytes, clusterBy: fieldId });
          const { segments: made, purgedTs } = await compactShardSegments(store.tools, schemaOf(ALL_FIELDS), job);

          const all = inputs.flatMap(({ rows }) => rows);
          const live = all.filter((timed) => deletedAt(timed, deletes) === undefined);
          const got = made.map((doc) => store.rows(ALL_FIELDS, doc));
          const text = ({ row, ts }: Timed) =>
            JSON.stringify([ts, row], (_, value) =>
              typeof value === "bigint" ? `${value}n` : Object.is(value, -0) ? "-0" : value,
            );
          expect(got.flat().map(text).sort()).toEqual(live.map(text).sort());
          made.forEach((doc, i) => {
            const rows = got[i]!;
            expect(rows.every(({ ts }, n) => n === 0 || rows[n - 1]!.ts <= ts)).toBe(true);
            expect(doc).toMatchObject({
              partitionId: 7,
              deletesSeq: 1000,
              rowCount: rows.length,
              clusteredBy: fieldId,
            });
            expect([doc.minTs, doc.maxTs]).toEqual([rows[0]!.ts, rows.at(-1)!.ts]);
          });
          const gone = all.map((timed) => deletedAt(timed, deletes)).filter((ts) => ts !== undefined);
          expect(purgedTs ?? 0n).toBe(gone.reduce((a, b) => (a > b ? a : b), 0n));
          // Segments that have a value in common are of one range, which did not fit into one.
          if (type === "Float" || type === "Double") return;
          const sets = got.map((rows) => new Set(rows.map(({ row }) => row[fieldId] ?? null)));
          const share = (a: Set<unknown>, b: Set<unknown>) => [...a].some((value) => b.has(value));
          for (const a of sets) {
            const ofRange = made.filter((_, i) => share(a, sets[i]!));
            const bytes = ofRange.reduce((sum, { object }) => sum + object.bytes, 0);
            if (ofRange.length > 1) expect(bytes).toBeGreaterThan(targetBytes);
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it("makes segments of about the target, of many inputs that are read a few at a time", async () => {
    const store = new Store();
    const fields = [KEY_FIELD];
    const inputs = Array.from(
      { length: 12 },
      (_, n): Input => ({
        rows: Array.from({ length: 5_000 }, (_, i) => ({
          row: { 100: BigInt((i * 7919 + n) % 60_000) },
          ts: BigInt(n * 5_000 + i + 1),
        })),
        flushedAt: 1n,
      }),
    );
    const segments = await Promise.all(inputs.map((input) => store.segment(fields, input, [])));
    const job = jobOf(segments, [], { targetBytes: 200_000, clusterBy: 100 });
    let readBytes = 0;
    const { blobs } = store.tools;
    const get = blobs.get.bind(blobs);
    blobs.get = async (object, ...rest) => {
      readBytes += object.bytes;
      return get(object, ...rest);
    };
    const { segments: made } = await compactShardSegments(store.tools, schemaOf(fields), job);
    const total = segments.reduce((sum, { object }) => sum + object.bytes, 0);
    expect(made).toHaveLength(Math.ceil(total / 160_000));
    for (const { object } of made) expect(Math.abs(object.bytes / 160_000 - 1)).toBeLessThan(0.25);
    const ranges = made.map(({ bounds }) => bounds![100]! as { min: number; max: number });
    ranges.forEach(({ min }, i) => {
      if (i > 0) expect(min).toBeGreaterThan(ranges[i - 1]!.max);
    });
    // For the sample, for the runs, and the runs themselves.
    expect(readBytes).toBeLessThan(3.3 * total);
  });

  it("looks at each chunk once a pass, and keeps every live row in its order, where inputs take turns row by row", async () => {
    const store = new Store();
    const fields = [KEY_FIELD];
    const deletes = Array.from({ length: 200 }, (_, i): Delete => ({ key: BigInt(i * 90), ts: 50_000n }));
    const rowsOfInput = (n: number) =>
      Array.from({ length: 9_000 }, (_, i) => ({ row: { 100: BigInt(i * 2 + n) }, ts: BigInt(i * 2 + n + 1) }));
    const inputs = [0, 1].map((n): Input => ({ rows: rowsOfInput(n), flushedAt: 1n }));
    const segments = await Promise.all(inputs.map((input) => store.segment(fields, input, deletes)));
    const targetBytes = Math.ceil(segments[0]!.object.bytes * 1.05);
    const job = jobOf(segments, await store.deltas(deletes), { targetBytes, clusterBy: 100 });
    const visible = vi.spyOn(Segment.prototype, "visible");
    const { segments: made } = await compactShardSegments(store.tools, schemaOf(fields), job);
    const looks = visible.mock.calls.length;
    visible.mockRestore();
    const got = made.map((doc) => store.rows(fields, doc).map(({ row, ts }) => [row[100] as bigint, ts] as const));
    expect(made.length).toBeGreaterThan(2);
    for (const rows of got) expect(rows.every(([, ts], i) => i === 0 || rows[i - 1]![1] < ts)).toBe(true);
    const live = Array.from({ length: 18_000 }, (_, i) => [BigInt(i), BigInt(i + 1)]).filter(
      ([id]) => id! % 90n !== 0n,
    );
    expect(got.flat()).toEqual(live);
    // Two chunks of each input for the sample, and for the runs; of the runs, one of each range.
    expect(looks).toBe(4 + 4 + made.length);
  });

  it("holds no more than a merge does, also of one value that all rows have", async () => {
    const store = new Store();
    const fields = [KEY_FIELD, ...keys.filter(({ type }) => type === "Int8")];
    const inputs = Array.from(
      { length: 10 },
      (_, n): Input => ({
        // All are of the same time, so that a merge of them has to read all.
        rows: Array.from({ length: 2_000 }, (_, i) => ({
          row: { 100: BigInt(i), 103: 5 },
          ts: BigInt(i * 10 + n + 1),
        })),
        flushedAt: 1n,
      }),
    );
    const segments = await Promise.all(inputs.map((input) => store.segment(fields, input, [])));
    const { blobs } = store.tools;
    const { get, put } = { get: blobs.get.bind(blobs), put: blobs.put.bind(blobs) };
    let readBytes = 0;
    const readFor: number[] = [];
    blobs.get = async (object, ...rest) => {
      readBytes += object.bytes;
      return get(object, ...rest);
    };
    blobs.put = async (name, content, ...rest) => {
      const object = await put(name, content, ...rest);
      readFor.push(readBytes);
      readBytes = 0;
      return object;
    };
    const targetBytes = 2 * segments[0]!.object.bytes;
    const job = jobOf(segments, [], { targetBytes, clusterBy: 103 });
    const { segments: made } = await compactShardSegments(store.tools, schemaOf(fields), job);
    expect(made.reduce((sum, { rowCount }) => sum + rowCount, 0)).toBe(20_000);
    // The first one had the sample before it.
    expect(Math.max(...readFor.slice(1))).toBeLessThanOrEqual(2 * targetBytes);
  });
});

describe("distribution of deletes", () => {
  it("gives every segment those that hit its rows, at the time of the first that does", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(inputArbitrary([KEY_FIELD]), { minLength: 1, maxLength: 4 }),
        deletesArbitrary,
        async (inputs, deletes) => {
          const store = new Store();
          const segments = await Promise.all(inputs.map((input) => store.segment([KEY_FIELD], input, deletes)));
          const job = jobOf(segments, await store.deltas(deletes));
          const result = await distributeShardDeletes(store.tools, schemaOf([KEY_FIELD]), job);
          expect(result.segments.map(({ segmentId }) => segmentId)).toEqual(segments.map(({ segmentId }) => segmentId));
          result.segments.forEach(({ fromSeq, throughSeq, deletes: own }, i) => {
            expect([fromSeq, throughSeq]).toEqual([segments[i]!.deletesSeq, 1000]);
            const { rows } = inputs[i]!;
            const parts = own === undefined ? [] : readDeletedRows(store.objects.get(own.object.name)!, rows.length);
            const got = parts.flatMap((part) => [...part.rows].map((row, n) => ({ row, ts: part.timestamps[n]! })));
            const expected = rows.flatMap((timed, row) => {
              const ts = deletedAt(timed, deletes);
              return ts === undefined ? [] : [{ row, ts }];
            });
            expect(got).toEqual(expected);
            expect(own?.rowCount ?? 0).toBe(expected.length);
          });
        },
      ),
      { numRuns: 150 },
    );
  });
});
