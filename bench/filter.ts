/**
 * Filters over rows in memory, one thread: milliseconds of one evaluation without help of a cache, and of one through scalar
 * indexes.
 *
 *     npx tsx bench/filter.ts [rows = 100000] [runs = 20]
 */
import { type IndexHint, planFilter } from "../runtime/expr/plan.ts";
import { prepareSegment } from "../runtime/scalar-index/prepare.ts";
import { allowIndexes, cacheOf } from "../runtime/scalar-index/segment-cache.ts";
import type { CollectionSchema, FieldSchema, FieldType } from "../runtime/schema.ts";
import { allowedRows, prepareRows } from "../runtime/search/allowed-rows.ts";
import { countBits } from "../runtime/segment/bitset.ts";
import type { BytesColumn, ColumnBatch } from "../runtime/segment/column.ts";
import { Segment } from "../runtime/segment/segment.ts";
import { systemClock as clock } from "../runtime/system-clock.ts";

const ROWS = Number(process.argv[2] ?? 100_000);
const RUNS = Number(process.argv[3] ?? 20);
const BATCH_ROWS = 1_000;

function field(fieldId: number, name: string, type: FieldType, more: Partial<FieldSchema> = {}): FieldSchema {
  return { fieldId, name, type, description: "", isPrimary: false, nullable: false, isDynamic: false, ...more };
}

const schema: CollectionSchema = {
  version: 1,
  autoId: false,
  enableDynamicField: true,
  fields: [
    field(100, "id", "Int64", { isPrimary: true }),
    field(101, "price", "Double"),
    field(102, "stock", "Int32"),
    field(103, "name", "VarChar", { maxLength: 100 }),
    field(104, "doc", "JSON"),
    field(105, "body", "VarChar", { maxLength: 1_000, enableAnalyzer: true, enableMatch: true }),
    field(106, "place", "Geometry"),
  ],
};

const HINTS: IndexHint[] = [
  { fieldId: 101 },
  { fieldId: 102 },
  { fieldId: 103 },
  { fieldId: 104, path: ["size"] },
  { fieldId: 104, path: ["color"] },
  { fieldId: 106, hasBoxes: true },
];

const WORDS = ["red", "green", "blue", "fast", "slow", "large", "small", "metal", "wood", "glass", "old", "new"];

function textColumn(kind: "varchar" | "json", texts: string[]): BytesColumn {
  const parts = texts.map((text) => Buffer.from(text));
  const offsets = new Uint32Array(texts.length + 1);
  parts.forEach((part, i) => {
    offsets[i + 1] = offsets[i]! + part.length;
  });
  return { kind, offsets, bytes: new Uint8Array(Buffer.concat(parts)) };
}

function batchFrom(start: number): ColumnBatch {
  const rows = Array.from({ length: BATCH_ROWS }, (_, i) => start + i);
  const word = (row: number, i: number) => WORDS[(row * 7 + i * 5 + (row >> 3)) % WORDS.length]!;
  return {
    rowCount: BATCH_ROWS,
    columns: {
      100: { kind: "int64", values: BigInt64Array.from(rows, BigInt) },
      101: { kind: "double", values: Float64Array.from(rows, (row) => (row * 7_919) % 1_000) },
      102: { kind: "int32", values: Int32Array.from(rows, (row) => (row * 104_729) % 500) },
      103: textColumn(
        "varchar",
        rows.map((row) => `${word(row, 0)} ${word(row, 1)} ${row % 1_000}`),
      ),
      104: textColumn(
        "json",
        rows.map((row) => JSON.stringify({ size: row % 300, color: word(row, 2), tags: [row % 7] })),
      ),
      105: textColumn(
        "varchar",
        rows.map((row) => Array.from({ length: 20 }, (_, i) => word(row, i)).join(" ")),
      ),
      106: textColumn(
        "varchar",
        rows.map((row) => `POINT (${((row * 7_919) % 36_000) / 100 - 180} ${((row * 104_729) % 17_999) / 100 - 90})`),
      ),
    },
  };
}

const segment = new Segment({ segmentId: "0".repeat(26), partitionId: 1, keyFieldId: 100, keyKind: "int64" });
for (let start = 0; start < ROWS; start += BATCH_ROWS) segment.append(batchFrom(start), 1n);

/** About a tenth of the world: a polygon of 100 corners. */
const AREA = Array.from({ length: 101 }, (_, i) => {
  const angle = (2 * Math.PI * (i % 100)) / 100;
  return `${(5 + 50 * Math.cos(angle)).toFixed(4)}# ${(50 * Math.sin(angle)).toFixed(4)}`;
}).join(", ");

/** `#` is another number in each run, so that nothing is answered from kept results of an earlier run. */
const FILTERS = [
  "price > 100.# and stock < 4# and name like 'red%'",
  "stock == 1# and name == 'red blue #'",
  "id > #000",
  "name like '%blue 5#%'",
  "doc['size'] > 25# and doc['color'] == 'red'",
  "array_length(doc['tags']) == 1 and doc['size'] == #",
  "text_match(body, 'metal glass', minimum_should_match = 2) and stock < 10#",
  `st_within(place, 'POLYGON ((${AREA}))')`,
  "st_dwithin(place, 'POINT (13.4# 52.5)', 500 * 1000)",
];

async function milliseconds(text: string, indexes?: IndexHint[]): Promise<{ median: number; rows: number }> {
  const times: number[] = [];
  let rows = 0;
  for (let run = 0; run < RUNS + 3; run++) {
    const plan = {
      ...planFilter(text.replaceAll("#", String(run)), schema),
      ...(indexes === undefined ? {} : { indexes }),
    };
    const startedAt = performance.now();
    rows = 0;
    for (const chunk of segment.chunks) {
      await prepareRows(segment, chunk, plan, { clock });
      rows += countBits(allowedRows(segment, chunk, { readTs: 2n }, plan)!);
    }
    if (run >= 3) times.push(performance.now() - startedAt);
  }
  times.sort((a, b) => a - b);
  return { median: times[times.length >> 1]!, rows };
}

console.log(`${ROWS} rows, median of ${RUNS}, milliseconds: without indexes, with them (rows found)`);
const plain: { median: number; rows: number }[] = [];
for (const text of FILTERS) plain.push(await milliseconds(text));
allowIndexes(segment, () => true);
const startedAt = performance.now();
await prepareSegment(segment, HINTS, clock);
const built = performance.now() - startedAt;
for (const [i, text] of FILTERS.entries()) {
  const indexed = await milliseconds(text, HINTS);
  console.log(
    `${plain[i]!.median.toFixed(2).padStart(9)} ${indexed.median.toFixed(2).padStart(9)}  ${text.slice(0, 100)} (${indexed.rows})`,
  );
}
console.log(
  `indexes: ${built.toFixed(0)} ms to make, ${(cacheOf(segment).bytes / ROWS).toFixed(1)} bytes a row with the tokens of body`,
);
