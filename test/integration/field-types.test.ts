/** Fields of every vector type through the life of a row: growing, flushed, compacted, after a restart. */
import { afterEach, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import type { FieldDefinition, Row, SparseVector } from "../../client/types.ts";
import { ROLES } from "../../runtime/actor.ts";
import { bfloat16Bits, float16Bits } from "../../runtime/half-floats.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";
import { seededNumbers } from "../../runtime/testing/vectors.ts";

const COLLECTION = "typed";
const STRONG = { collectionName: COLLECTION, consistencyLevel: "Strong" } as const;
const DIMENSION = 16;

const FIELDS: FieldDefinition[] = [
  { fieldName: "id", dataType: "VarChar", isPrimary: true, elementTypeParams: { max_length: 8 } },
  { fieldName: "half", dataType: "Float16Vector", elementTypeParams: { dim: DIMENSION } },
  { fieldName: "brain", dataType: "BFloat16Vector", elementTypeParams: { dim: DIMENSION } },
  { fieldName: "bytes", dataType: "Int8Vector", elementTypeParams: { dim: DIMENSION } },
  { fieldName: "sparse", dataType: "SparseFloatVector" },
  { fieldName: "at", dataType: "Timestamptz", nullable: true },
  { fieldName: "n", dataType: "Int32", defaultValue: 0 },
];

interface Typed {
  given: Row;
  stored: Row;
}

const random = seededNumbers(11);
const numbers = () => Array.from({ length: DIMENSION }, () => Math.fround(random() * 2 - 1));
const packed = (of: Uint16Array | Int8Array) => Buffer.from(of.buffer, of.byteOffset, of.byteLength);

/** Rows as typed arrays, lists and bytes, as a client may have them; they come back as bytes. */
function typedRow(id: string): Typed {
  const [half, brain] = [numbers(), numbers()];
  const bytes = Int8Array.from(numbers(), (x) => x * 127);
  const sparse: SparseVector = Object.fromEntries(
    Array.from({ length: 6 }, () => [Math.floor(random() * 1000), Math.floor(random() * 8) / 4]),
  );
  const second = String(Math.floor(random() * 60)).padStart(2, "0");
  const at = random() < 0.2 ? null : `2025-03-01T00:00:${second}Z`;
  return {
    given: { id, half: Float32Array.from(half), brain, bytes, sparse, at },
    stored: {
      ...{ id, sparse, at, n: 0, bytes: packed(bytes) },
      half: packed(Uint16Array.from(half, float16Bits)),
      brain: packed(Uint16Array.from(brain, bfloat16Bits)),
    },
  };
}

let cluster: TestCluster;
let client: VdbClient;
afterEach(async () => {
  await client?.close();
  await cluster?.[Symbol.asyncDispose]();
});

test("rows of every vector type are the same and are found, however they are kept", async () => {
  cluster = await startTestCluster([ROLES], ["coordinator.indexRowsMin=50"]);
  client = await VdbClient.connect({ servers: cluster.nats.url });
  await client.createCollection({
    collectionName: COLLECTION,
    schema: { fields: FIELDS },
    properties: { "collection.autocompaction.enabled": false },
    indexParams: [
      { fieldName: "half", metricType: "L2" },
      { fieldName: "brain", metricType: "COSINE" },
      { fieldName: "bytes", metricType: "L2" },
      { fieldName: "sparse", metricType: "IP" },
    ],
    params: { shardsNum: 2 },
  });
  const rows = Array.from({ length: 240 }, (_, i) => typedRow(`r${String(i).padStart(4, "0")}`));
  const kept = rows.slice(20);

  async function check(): Promise<void> {
    const found = await client.query({ ...STRONG, limit: 1000 });
    expect(found.map(plain)).toEqual(kept.map(({ stored }) => plain(stored)));
    const { stored } = kept[137]!;
    for (const annsField of ["half", "bytes"]) {
      const [hits] = await client.search({ ...STRONG, annsField, data: stored[annsField] as Uint8Array, limit: 1 });
      expect(hits).toMatchObject([{ id: stored.id, distance: 0 }]);
    }
    const [best] = await client.search({ ...STRONG, annsField: "brain", data: [stored.brain as Uint8Array], limit: 1 });
    expect(best![0]!.id).toBe(stored.id);
    const [sparse] = await client.search({ ...STRONG, annsField: "sparse", data: { "5": 1, "17": 2 }, limit: 3 });
    const inner = (vector: Record<string, number>) => (vector["5"] ?? 0) + 2 * (vector["17"] ?? 0);
    const products = kept.map((row) => inner(row.stored.sparse as Record<string, number>)).sort((a, b) => b - a);
    expect(sparse!.map(({ distance }) => distance)).toEqual(products.filter((x) => x > 0).slice(0, 3));
  }

  for (let start = 0; start < rows.length; start += 80) {
    await client.insert({ collectionName: COLLECTION, data: rows.slice(start, start + 80).map(({ given }) => given) });
    if (start > 0) await client.flush({ collectionName: COLLECTION });
  }
  await client.delete({ collectionName: COLLECTION, filter: 'id < "r0020"' });
  for (const { stored } of rows.slice(100, 110)) stored.n = 7;
  const changed = rows.slice(100, 110).map(({ given }) => ({ id: given.id, n: 7 }));
  await client.upsert({ collectionName: COLLECTION, data: changed, partialUpdate: true });
  await check();
  await client.flush({ collectionName: COLLECTION });
  await client.compact({ collectionName: COLLECTION });
  await check();
  await cluster.stopNode(cluster.nodes[0]!);
  await cluster.startNode(ROLES);
  await check();
});

/** Bytes compare as lists, whichever class they came in. */
function plain(row: Row): Row {
  return Object.fromEntries(
    Object.entries(row).map(([key, value]) => [key, value instanceof Uint8Array ? [...value] : value]),
  );
}
