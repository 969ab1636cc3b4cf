/**
 * Filters that match nothing, over many segments: the CPU time of this process for reading the rows, and for skipping chunks
 * (runtime/scalar-index/verdict.ts).
 *
 *   node dist/bench/skip.js [--segments 50] [--chunks 12]
 */
import { parseArgs } from "node:util";
import { planFilter } from "../runtime/expr/plan.ts";
import { allowIndexes, cacheOf } from "../runtime/scalar-index/segment-cache.ts";
import type { CollectionSchema, FieldSchema } from "../runtime/schema.ts";
import { querySegment } from "../runtime/search/query-segment.ts";
import { allowedChunks } from "../runtime/search/scan-segment.ts";
import { hashKey, type KeyColumn, keysOf } from "../runtime/segment/keys.ts";
import { CHUNK_ROWS, Segment } from "../runtime/segment/segment.ts";
import { systemClock as clock } from "../runtime/system-clock.ts";
import { seededNumbers } from "../runtime/testing/vectors.ts";

const next = seededNumbers(1);
const word = () => Math.floor(next() * 2 ** 32);
const text = () => Array.from({ length: 4 }, () => word().toString(16).padStart(8, "0")).join("-");
const integer = () => (BigInt(word() >>> 1) << 32n) | BigInt(word());
const list = <T>(make: () => T, count: number) => Array.from({ length: count }, make);

function schemaOf(keyKind: KeyColumn["kind"]): CollectionSchema {
  const field = (fieldId: number, name: string, type: FieldSchema["type"]): FieldSchema => ({
    ...{ fieldId, name, type, description: "", isPrimary: fieldId === 100, nullable: false, isDynamic: false },
    ...(type === "VarChar" ? { maxLength: 64 } : {}),
  });
  const key = field(100, "key", keyKind === "int64" ? "Int64" : "VarChar");
  const fields = [key, field(101, "text", "VarChar"), field(102, "number", "Int64")];
  return { version: 1, autoId: false, enableDynamicField: false, fields };
}

function newKeys(keyKind: KeyColumn["kind"], count: number): KeyColumn {
  return keyKind === "int64" ? keysOf("int64", list(integer, count)) : keysOf("varchar", list(text, count));
}

function newSegment(keyKind: KeyColumn["kind"], chunks: number): Segment {
  const rowsExpected = chunks * CHUNK_ROWS;
  const segment = new Segment({ segmentId: text(), partitionId: 1, keyFieldId: 100, keyKind, rowsExpected });
  for (let chunk = 0; chunk < chunks; chunk++) {
    const columns = {
      100: newKeys(keyKind, CHUNK_ROWS),
      101: newKeys("varchar", CHUNK_ROWS),
      102: newKeys("int64", CHUNK_ROWS),
    };
    segment.appendChunk({ rowCount: CHUNK_ROWS, columns }, new BigInt64Array(CHUNK_ROWS).fill(1n));
  }
  allowIndexes(segment, () => true);
  return segment;
}

async function measure(what: string, times: number, work: () => unknown): Promise<void> {
  const before = process.cpuUsage();
  for (let i = 0; i < times; i++) await work();
  const { user, system } = process.cpuUsage(before);
  console.log(`${what.padEnd(48)}${((user + system) / 1_000 / times).toFixed(2).padStart(9)} ms`);
}

async function measureKind(keyKind: KeyColumn["kind"], segmentCount: number, chunks: number): Promise<void> {
  const schema = schemaOf(keyKind);
  const segments = list(() => newSegment(keyKind, chunks), segmentCount);
  const key = keyKind === "int64" ? () => String(integer()) : () => `'${text()}'`;
  const query = (filter: string) => {
    const options = {
      filter: planFilter(filter, schema),
      readTs: 9n,
      clock,
      fieldIds: [],
      limit: null,
      countOnly: true,
    };
    return Promise.all(segments.map((segment) => querySegment(segment, options)));
  };
  const search = (filter: string) => {
    const options = { filter: planFilter(filter, schema), readTs: 9n, clock };
    return Promise.all(segments.map((segment) => allowedChunks(segment, options)));
  };
  console.log(`${segmentCount} segments of ${chunks * CHUNK_ROWS} rows, ${keyKind} keys`);
  for (const [filter, value] of [
    ["text == ", () => `'${text()}'`],
    ["number == ", () => String(integer())],
  ] as const) {
    await measure(`${filter}…, the first`, 1, () => query(filter + value()));
    await measure(`${filter}…, the second`, 1, () => query(filter + value()));
    await measure(`${filter}…`, 100, () => query(filter + value()));
  }
  await measure("key == …", 100, () => query(`key == ${key()}`));
  await measure("key in […], 100 keys", 50, () => query(`key in [${list(key, 100).join()}]`));
  await measure("key == … in a search", 100, () => search(`key == ${key()}`));
  await measure("1,000 deletes of other keys", 20, () => {
    const keys = newKeys(keyKind, 1_000);
    for (let row = 0; row < 1_000; row++) {
      const hash = hashKey(keys, row);
      for (const segment of segments) segment.delete(keys, row, 9n, hash);
    }
  });
  const bytes = segments.reduce((sum, segment) => sum + cacheOf(segment).bytes, 0);
  console.log(`${(bytes / (segmentCount * chunks * CHUNK_ROWS)).toFixed(2)} bytes a row for two fields`);
}

const { values } = parseArgs({
  options: { segments: { type: "string", default: "50" }, chunks: { type: "string", default: "12" } },
});
for (const keyKind of ["varchar", "int64"] as const) {
  await measureKind(keyKind, Number(values.segments), Number(values.chunks));
}
