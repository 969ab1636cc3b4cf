/** LanceDB, embedded in this process: one HNSW graph over 8-bit vectors, and a B-tree on the scalar that filters use. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PeerData } from "./data-sets.ts";
import { missingPackage, requirePeer, versionOf } from "./packages.ts";
import { EF_CONSTRUCTION, M, type Peer, type PeerSession } from "./peer.ts";

interface ArrowTable {
  getChild(name: string): { toArray(): ArrayLike<number | bigint> } | null;
}

interface VectorQuery {
  distanceType(type: "l2" | "cosine"): VectorQuery;
  ef(ef: number): VectorQuery;
  nprobes(count: number): VectorQuery;
  where(filter: string): VectorQuery;
  select(columns: string[]): VectorQuery;
  limit(count: number): VectorQuery;
  fastSearch(): VectorQuery;
  toArrow(): Promise<ArrowTable>;
}

interface Table {
  add(data: unknown): Promise<unknown>;
  createIndex(column: string, options: { config: unknown }): Promise<void>;
  waitForIndex(names: string[], timeoutSeconds: number): Promise<void>;
  prewarmIndex(name: string): Promise<void>;
  query(): { nearestTo(vector: Float32Array): VectorQuery };
  close(): void;
}

interface LanceDb {
  connect(path: string): Promise<{ createEmptyTable(name: string, schema: unknown): Promise<Table>; close(): void }>;
  Index: {
    hnswSq(options: { distanceType: string; numPartitions: number; m: number; efConstruction: number }): unknown;
    btree(): unknown;
  };
}

/** The parts of apache-arrow, in LanceDB's version, that make a batch of rows. */
interface Arrow {
  Schema: new (fields: unknown[]) => unknown;
  Field: new (name: string, type: unknown, nullable: boolean) => unknown;
  FixedSizeList: new (size: number, child: unknown) => unknown;
  Float32: new () => unknown;
  Int32: new () => unknown;
  Utf8: new () => unknown;
  Struct: new (fields: unknown[]) => unknown;
  RecordBatch: new (schema: unknown, data: unknown) => unknown;
  Table: new (schema: unknown, batches: unknown[]) => unknown;
  vectorFromArray(values: unknown, type: unknown): { data: unknown[] };
  makeData(of: Record<string, unknown>): unknown;
}

const BATCH_ROWS = 10_000;

export const lancedbPeer: Peer = {
  name: "lancedb",
  describe: () =>
    `LanceDB ${versionOf("@lancedb/lancedb")}, in process, IVF_HNSW_SQ with 1 partition, B-tree on the scalar`,
  missing: async () => missingPackage("@lancedb/lancedb") ?? missingPackage("apache-arrow"),
  open: async (data) => openLanceDb(data),
};

async function openLanceDb(data: PeerData): Promise<PeerSession> {
  const { connect, Index } = requirePeer<LanceDb>("@lancedb/lancedb");
  const folder = await mkdtemp(join(tmpdir(), "vdb-lancedb-"));
  const database = await connect(folder);
  const batches = arrowBatches(data);
  const table = await database.createEmptyTable("rows", batches.schema);
  const distanceType = data.metric === "L2" ? "l2" : "cosine";
  let isAllIndexed = true;
  return {
    filters: true,
    async load() {
      for (let start = 0; start < data.rows; start += BATCH_ROWS) await table.add(batches.from(start));
    },
    async buildIndex() {
      await table.createIndex("bucket", { config: Index.btree() });
      await table.createIndex("vector", {
        config: Index.hnswSq({ distanceType, numPartitions: 1, m: M, efConstruction: EF_CONSTRUCTION }),
      });
      await table.waitForIndex(["vector_idx", "bucket_idx"], 600);
      await table.prewarmIndex("vector_idx");
    },
    async search(query, { k, ef, below }) {
      let search = table.query().nearestTo(query).distanceType(distanceType).limit(k).nprobes(1);
      // Every row is indexed, so it need not look for others.
      if (isAllIndexed) search = search.fastSearch();
      // No refinement by the full vectors: 8 bits reach the recall without it, and it costs more than a larger ef.
      search = search.ef(Math.max(ef, k));
      if (below !== undefined) search = search.where(`bucket < ${below}`);
      const found = await search.select(["id", "_distance"]).toArrow();
      return Array.from(found.getChild("id")?.toArray() ?? [], Number);
    },
    async addOne(row, vector) {
      isAllIndexed = false;
      await table.add([{ id: row, bucket: 0, title: "new", vector: Array.from(vector) }]);
    },
    async close() {
      table.close();
      database.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function arrowBatches(data: PeerData) {
  const arrow = requirePeer<Arrow>("apache-arrow");
  const { dimension, rows, vectors, buckets, titles } = data;
  const item = new arrow.Field("item", new arrow.Float32(), true);
  const list = new arrow.FixedSizeList(dimension, item);
  const fields = [
    new arrow.Field("id", new arrow.Int32(), false),
    new arrow.Field("bucket", new arrow.Int32(), false),
    new arrow.Field("title", new arrow.Utf8(), false),
    new arrow.Field("vector", list, false),
  ];
  const schema = new arrow.Schema(fields);
  return {
    schema,
    from(start: number): unknown {
      const length = Math.min(BATCH_ROWS, rows - start);
      const values = vectors.subarray(start * dimension, (start + length) * dimension);
      const floats = arrow.makeData({ type: new arrow.Float32(), length: values.length, data: values });
      const ids = Int32Array.from({ length }, (_, i) => start + i);
      const children = [
        arrow.makeData({ type: new arrow.Int32(), length, data: ids }),
        arrow.makeData({ type: new arrow.Int32(), length, data: buckets.subarray(start, start + length) }),
        arrow.vectorFromArray(titles.slice(start, start + length), new arrow.Utf8()).data[0],
        arrow.makeData({ type: list, length, nullCount: 0, child: floats }),
      ];
      const struct = arrow.makeData({ type: new arrow.Struct(fields), length, nullCount: 0, children });
      return new arrow.Table(schema, [new arrow.RecordBatch(schema, struct)]);
    },
  };
}
