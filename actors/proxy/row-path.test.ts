/** Rows on their whole way: body, columns, wire, growing segment, file, loaded segment, reply. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { bfloat16Bits, float16Bits } from "../../runtime/half-floats.ts";
import { decode, encode } from "../../runtime/protocol/codec.ts";
import {
  decodePublic,
  encodePublic,
  JSON_TYPE,
  MSGPACK_TYPE,
  parseJson,
  shortestFloat32,
} from "../../runtime/protocol/public-codec.ts";
import { Batch } from "../../runtime/protocol/values.ts";
import { type Row, rowsToColumns } from "../../runtime/rows/rows-to-columns.ts";
import type { CollectionSchema, FieldSchema } from "../../runtime/schema.ts";
import { readSegmentFile, writeSegmentFile } from "../../runtime/segment/arrow-file.ts";
import type { ColumnBatch } from "../../runtime/segment/column.ts";
import { gatherRows } from "../../runtime/segment/gather.ts";
import type { KeyColumn } from "../../runtime/segment/keys.ts";
import { Segment } from "../../runtime/segment/segment.ts";
import { systemClock } from "../../runtime/system-clock.ts";
import { formatTimestamptz } from "../../runtime/timestamptz.ts";
import { columnsToRows } from "./columns-to-rows.ts";
import { outputFieldsOf } from "./output-fields.ts";

function field(name: string, type: FieldSchema["type"], more: Partial<FieldSchema> = {}): Omit<FieldSchema, "fieldId"> {
  return { name, type, description: "", isPrimary: false, nullable: false, isDynamic: false, ...more };
}

const nullable = { nullable: true };
const FIELDS = [
  field("id", "Int64", { isPrimary: true }),
  field("f32", "FloatVector", { dimension: 3 }),
  field("f16", "Float16Vector", { dimension: 3 }),
  field("bf16", "BFloat16Vector", { dimension: 3 }),
  field("i8v", "Int8Vector", { dimension: 5 }),
  field("bits", "BinaryVector", { dimension: 24 }),
  field("sparse", "SparseFloatVector"),
  field("at", "Timestamptz", nullable),
  field("flag", "Bool", nullable),
  field("i8", "Int8", nullable),
  field("i16", "Int16", nullable),
  field("i32", "Int32", nullable),
  field("i64", "Int64", nullable),
  field("float", "Float", nullable),
  field("double", "Double", nullable),
  field("text", "VarChar", { ...nullable, maxLength: 99 }),
  field("json", "JSON", nullable),
  field("longs", "Array", { ...nullable, elementType: "Int64", maxCapacity: 4 }),
  field("texts", "Array", { ...nullable, elementType: "VarChar", maxLength: 99, maxCapacity: 4 }),
  field("$meta", "JSON", { isDynamic: true }),
].map((spec, i) => ({ ...spec, fieldId: 100 + i }));
const SCHEMA: CollectionSchema = { version: 1, fields: FIELDS, autoId: false, enableDynamicField: true };

/** A value as a client may give it, and as the reply has it: JSON's form, where they differ MessagePack's too. */
interface Told {
  given: unknown;
  shown: unknown;
  shownPacked?: unknown;
}

const same = (value: unknown): Told => ({ given: value, shown: value });
// Beyond 2^53 a test's own parser would take a float that is written without a point for an integer.
const float = fc.float({ min: -(2 ** 40), max: 2 ** 40, noNaN: true }).map((x) => x + 0);
const small = fc.integer({ min: -600, max: 600 }).map((x) => x / 8);
const int64 = fc
  .bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
  .map((x) => (Number.isSafeInteger(Number(x)) ? Number(x) : x));
const text = fc.string({ unit: "grapheme", maxLength: 8 });

function packed(bytes: Uint8Array, others: unknown[]): fc.Arbitrary<Told> {
  const base64 = Buffer.from(bytes).toString("base64");
  return fc
    .constantFrom(base64, bytes, Buffer.from(bytes), ...others)
    .map((given) => ({ given, shown: base64, shownPacked: bytes }));
}

function halves(bitsOf: (x: number) => number): fc.Arbitrary<Told> {
  return fc.tuple(small, small, small).chain((numbers) => {
    const words = Uint16Array.from(numbers, bitsOf);
    return packed(new Uint8Array(words.buffer), [
      numbers,
      Float32Array.from(numbers),
      Float64Array.from(numbers),
      words,
    ]);
  });
}

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });

const sparse = fc
  .dictionary(
    fc.nat({ max: 2 ** 32 - 2 }).map(String),
    fc.integer({ min: 0, max: 99 }).map((x) => x / 4),
    { maxKeys: 4 },
  )
  .chain((map) => {
    const pairs = Object.entries(map);
    const indices = pairs.map(([index]) => Number(index));
    const values = pairs.map(([, value]) => value);
    const raw = new Uint8Array(pairs.length * 8);
    pairs.forEach(([index, value], i) => {
      new DataView(raw.buffer).setUint32(i * 8, Number(index), true);
      new DataView(raw.buffer).setFloat32(i * 8 + 4, value, true);
    });
    const lists = { indices: indices.toReversed(), values: values.toReversed() };
    return fc.constantFrom<unknown>(map, lists, { indices: Uint32Array.from(indices), values }, raw).map((given) => ({
      given,
      shown: map,
    }));
  });

const time = fc.bigInt({ min: -62_135_596_800_000_000n, max: 253_402_300_799_999_999n }).map((micros): Told => {
  const iso = formatTimestamptz(micros);
  return { given: iso, shown: iso };
});

const orNull = (value: fc.Arbitrary<Told>) => fc.option(value, { freq: 4, nil: same(null) });

const row: fc.Arbitrary<Record<string, Told>> = fc.record({
  id: int64.map(same),
  f32: fc
    .tuple(float, float, float)
    .chain((v) =>
      fc
        .constantFrom<unknown>(v, Float32Array.from(v))
        .map((given) => ({ given, shown: v.map(shortestFloat32), shownPacked: Float32Array.from(v) })),
    ),
  f16: halves(float16Bits),
  bf16: halves(bfloat16Bits),
  i8v: bytes(5).chain((raw) => packed(raw, [Array.from(Int8Array.from(raw)), Int8Array.from(raw)])),
  bits: bytes(3).chain((raw) => packed(raw, [Array.from(raw)])),
  sparse,
  at: orNull(time),
  flag: orNull(fc.boolean().map(same)),
  i8: orNull(fc.integer({ min: -128, max: 127 }).map(same)),
  i16: orNull(fc.integer({ min: -32_768, max: 32_767 }).map(same)),
  i32: orNull(fc.integer().map(same)),
  i64: orNull(int64.map(same)),
  float: orNull(small.map(same)),
  double: orNull(fc.double({ min: -(2 ** 52), max: 2 ** 52, noNaN: true }).map((x) => same(x + 0))),
  text: orNull(text.map(same)),
  json: orNull(fc.dictionary(text, small, { maxKeys: 2 }).map((given) => ({ given, shown: JSON.stringify(given) }))),
  longs: orNull(fc.array(int64, { maxLength: 4 }).map(same)),
  texts: orNull(fc.array(text, { maxLength: 4 }).map(same)),
  more: fc.dictionary(fc.constantFrom("a", "b"), small).map(same),
});

function replyOf(batch: ColumnBatch): Row[] {
  return columnsToRows(batch.columns[100] as KeyColumn, batch, outputFieldsOf(SCHEMA, ["*"]));
}

function newSegment(): Segment {
  return new Segment({ segmentId: "S".repeat(26), partitionId: 1, keyFieldId: 100, keyKind: "int64" });
}

/** All rows of a segment, gathered from its chunks as a reader does. */
function rowsIn(segment: Segment): Row[] {
  const batches = segment.chunks.map(({ batch }) => batch);
  const places = batches.flatMap(({ rowCount }, source) =>
    Array.from({ length: rowCount }, (_, at) => ({ source, at })),
  );
  const pick = {
    sources: Uint32Array.from(places, ({ source }) => source),
    rows: Uint32Array.from(places, ({ at }) => at),
  };
  return replyOf(
    gatherRows(
      batches,
      pick,
      FIELDS.map(({ fieldId }) => fieldId),
    ),
  );
}

test("rows of every type come back from a growing segment, and from the file that it becomes", async () => {
  const writes = fc.array(fc.array(row, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 3 });
  await fc.assert(
    fc.asyncProperty(writes, async (batches) => {
      const growing = newSegment();
      batches.forEach((rows, i) => {
        const given = rows.map((told) =>
          Object.fromEntries(Object.entries(told).map(([key, { given }]) => [key, given])),
        );
        const sent = decode(encode(rowsToColumns(SCHEMA, given)));
        growing.append(Batch.parse(sent), BigInt(i));
      });
      const parts: Uint8Array[] = [];
      for await (const part of writeSegmentFile(FIELDS, growing.chunks, systemClock)) parts.push(part);
      const loaded = newSegment();
      for (const chunk of readSegmentFile(Buffer.concat(parts))) loaded.appendChunk(chunk.batch, chunk.timestamps);
      for (const segment of [growing, loaded]) {
        const reply = rowsIn(segment);
        expect(parseJson(Buffer.from(encodePublic(reply, JSON_TYPE)).toString())).toEqual(
          batches.flat().map((told) => shownRow(told, ({ shown }) => shown)),
        );
        expect((decodePublic(encodePublic(reply, MSGPACK_TYPE), MSGPACK_TYPE) as Row[]).map(plainBytes)).toEqual(
          batches.flat().map((told) => shownRow(told, ({ shown, shownPacked }) => shownPacked ?? shown)),
        );
      }
    }),
    { numRuns: 60 },
  );
});

function shownRow(
  { more, ...fields }: Record<string, Told>,
  shownOf: (told: Told) => unknown,
): Record<string, unknown> {
  const shown = Object.fromEntries(Object.entries(fields).map(([key, told]) => [key, shownOf(told)]));
  return { ...shown, more: shownOf(more!) };
}

/** Bytes come out of MessagePack as Buffers. */
function plainBytes(shown: Row): Row {
  return Object.fromEntries(
    Object.entries(shown).map(([key, value]) => [key, Buffer.isBuffer(value) ? new Uint8Array(value) : value]),
  );
}
