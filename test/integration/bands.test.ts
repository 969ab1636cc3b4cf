/** Range searches of every kind of vector against a model: over growing and sealed rows, deletes and filters. */
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import type { FieldDefinition, Hit, IndexTypeName } from "../../client/types.ts";
import { ROLES } from "../../runtime/actor.ts";
import { type DenseVectors, type DenseVectorType, vectorWidth } from "../../runtime/ann/packed-vectors.ts";
import { isDescending, type Metric } from "../../runtime/schema.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";
import { definedDistance, vectorsOfType } from "../../runtime/testing/packed-vectors.ts";

const COLLECTION = "bands";
const DIMENSION = 24;
const ROWS = 500;
/** Rows that are sealed, in segments large enough for an index. */
const SEALED = 400;
const QUERIES = 5;

interface Subject {
  field: string;
  type: DenseVectorType;
  metric: Metric;
  indexType: IndexTypeName;
  vectors: DenseVectors;
  queries: DenseVectors;
}

const SUBJECTS: Subject[] = (
  [
    ["floats", "FloatVector", "L2", "HNSW"],
    ["halves", "Float16Vector", "IP", "FLAT"],
    ["bytes", "Int8Vector", "COSINE", "AUTOINDEX"],
    ["bits", "BinaryVector", "JACCARD", "BIN_IVF_FLAT"],
  ] as const
).map(([field, type, metric, indexType]) => ({
  ...{ field, type, metric, indexType },
  vectors: vectorsOfType(type, ROWS, DIMENSION, 1),
  queries: vectorsOfType(type, QUERIES, DIMENSION, 2),
}));

let cluster: TestCluster;
let client: VdbClient;

beforeAll(async () => {
  cluster = await startTestCluster([ROLES], ["coordinator.indexRowsMin=50"]);
  client = await VdbClient.connect({ servers: cluster.nats.url });
  const vectorFields: FieldDefinition[] = SUBJECTS.map(({ field, type }) => ({
    ...{ fieldName: field, dataType: type, elementTypeParams: { dim: DIMENSION } },
  }));
  await client.createCollection({
    collectionName: COLLECTION,
    schema: { fields: [{ fieldName: "id", dataType: "Int64", isPrimary: true }, ...vectorFields] },
    indexParams: SUBJECTS.map(({ field, metric, indexType }) => ({ fieldName: field, metricType: metric, indexType })),
  });
  await insert(0, SEALED);
  await client.flush({ collectionName: COLLECTION });
  await insert(SEALED, ROWS);
  await client.delete({ collectionName: COLLECTION, filter: "id % 10 == 3" });
});

afterAll(async () => {
  await client?.close();
  await cluster?.[Symbol.asyncDispose]();
});

async function insert(first: number, end: number): Promise<void> {
  const data = Array.from({ length: end - first }, (_, i) => {
    const row = first + i;
    return { id: row, ...Object.fromEntries(SUBJECTS.map((subject) => [subject.field, vectorOf(subject, row)])) };
  });
  await client.insert({ collectionName: COLLECTION, data });
}

function vectorOf({ type, vectors }: Subject, row: number): DenseVectors {
  const width = vectorWidth(type, DIMENSION);
  return vectors.slice(row * width, (row + 1) * width);
}

test("a band has the rows that the model has in it, nearest first", async () => {
  // Of bits none is loaded.
  await expect.poll(() => cluster.placement().indexes).toBe(SUBJECTS.length - 1);
  const cases = fc.record({
    subject: fc.constantFrom(...SUBJECTS),
    query: fc.nat(QUERIES - 1),
    near: fc.option(fc.nat(ROWS - 1)),
    width: fc.integer({ min: 1, max: 120 }),
    limit: fc.integer({ min: 1, max: 100 }),
    below: fc.option(fc.integer({ min: 0, max: ROWS })),
  });
  await fc.assert(
    fc.asyncProperty(cases, async ({ subject, query, near, width, limit, below }) => {
      const { field, type, metric, queries } = subject;
      const size = vectorWidth(type, DIMENSION);
      const vector = queries.slice(query * size, (query + 1) * size);
      const all = Array.from({ length: ROWS }, (_, id) => ({
        ...{ id, distance: definedDistance(metric, type, vector, vectorOf(subject, id)) },
      }));
      const sign = isDescending(metric) ? -1 : 1;
      all.sort((a, b) => sign * (a.distance - b.distance));
      const rangeFilter = near === null ? undefined : boundAt(all, near);
      const radius = boundAt(all, (near ?? 0) + width);
      fc.pre(radius !== undefined && (near === null || rangeFilter !== undefined) && radius !== rangeFilter);
      const wanted = all.filter(
        ({ id, distance }) =>
          id % 10 !== 3 &&
          (below === null || id < below) &&
          sign * distance < sign * radius! &&
          (rangeFilter === undefined || sign * distance >= sign * rangeFilter),
      );
      const [hits] = await client.search({
        ...{ collectionName: COLLECTION, consistencyLevel: "Strong", annsField: field, limit },
        data: type === "FloatVector" ? [vector as Float32Array] : [vector as Uint8Array],
        ...(below === null ? {} : { filter: `id < ${below}` }),
        searchParams: { params: { radius, ...(rangeFilter === undefined ? {} : { range_filter: rangeFilter }) } },
      });
      expectNearest(hits ?? [], wanted.slice(0, limit));
    }),
    { numRuns: 60, seed: 60_120_24 },
  );
});

/** Between two rows' distances, so that no rounding decides; undefined where there is no room. */
function boundAt(all: readonly { distance: number }[], at: number): number | undefined {
  const before = all[at]?.distance;
  const behind = all[at + 1]?.distance;
  if (before === undefined || behind === undefined || Math.abs(before - behind) < 1e-4) return undefined;
  return (before + behind) / 2;
}

function expectNearest(found: readonly Hit[], wanted: readonly { distance: number }[]): void {
  expect(found).toHaveLength(wanted.length);
  for (const [i, { distance }] of found.entries()) expect(distance).toBeCloseTo(wanted[i]!.distance, 3);
}
