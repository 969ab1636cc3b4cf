/**
 * The whole path through the public API: what a user does with a collection from its creation to its drop, the same in
 * one process and with a node for each role. Answers are compared with those found by looking at every row.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { VdbClient } from "../../client/client.ts";
import type { FieldDefinition, Hit, IndexParams, Metric, PrimaryKey, Row } from "../../client/types.ts";
import { ROLES, type Role } from "../../runtime/actor.ts";
import { startTestCluster, type TestCluster } from "../../runtime/testing/cluster.ts";
import { bestDistances, distanceOf } from "../../runtime/testing/exact-answers.ts";
import { readScrapes } from "../../runtime/testing/prometheus.ts";
import { clusteredVectors } from "../../runtime/testing/vectors.ts";

const LAYOUTS: { layout: string; nodes: Role[][] }[] = [
  { layout: "one process with all roles", nodes: [[...ROLES]] },
  { layout: "five nodes with a role each", nodes: [["coordinator"], ["streaming"], ["query"], ["data"], ["proxy"]] },
];

/** Small enough that the tests' segments get an index. */
const INDEX_ROWS_MIN = 200;

const DIMENSION = 16;
const EVERYTHING = 16_384;
const STRONG = { consistencyLevel: "Strong" } as const;

const EVERY_TYPE: FieldDefinition[] = [
  { fieldName: "id", dataType: "Int64", isPrimary: true },
  { fieldName: "flag", dataType: "Bool", nullable: true },
  { fieldName: "tiny", dataType: "Int8" },
  { fieldName: "small", dataType: "Int16" },
  { fieldName: "medium", dataType: "Int32", nullable: true },
  { fieldName: "large", dataType: "Int64" },
  { fieldName: "single", dataType: "Float" },
  { fieldName: "double", dataType: "Double" },
  { fieldName: "text", dataType: "VarChar", defaultValue: "unset", elementTypeParams: { max_length: 64 } },
  { fieldName: "document", dataType: "JSON", nullable: true },
  {
    fieldName: "tags",
    dataType: "Array",
    elementDataType: "VarChar",
    elementTypeParams: { max_capacity: 8, max_length: 32 },
  },
  { fieldName: "vector", dataType: "FloatVector", elementTypeParams: { dim: DIMENSION } },
];

const VECTOR_INDEX: IndexParams = { fieldName: "vector", indexType: "AUTOINDEX", metricType: "L2" };

interface Item extends Row {
  id: number;
  vector: Float32Array;
}

/** Rows of EVERY_TYPE, with every kind of value and gap. Each third row leaves its text to the default. */
function itemsFrom(first: number, count: number, seed = 7): Item[] {
  const vectors = clusteredVectors(count, DIMENSION, seed);
  return Array.from({ length: count }, (_, i): Item => {
    const id = first + i;
    return {
      id,
      flag: id % 5 === 0 ? null : id % 2 === 0,
      tiny: (id % 256) - 128,
      small: id % 1000,
      medium: id % 4 === 0 ? null : id * 1000,
      large: id % 10 === 0 ? 2n ** 62n + BigInt(id) : id,
      single: id / 8,
      double: id / 7,
      ...(id % 3 === 0 ? {} : { text: `row ${id}` }),
      document: id % 6 === 0 ? null : JSON.stringify({ colour: ["red", "green", "blue"][id % 3], size: id }),
      tags: Array.from({ length: id % 4 }, (_, tag) => `t${(id + tag) % 10}`),
      ...(id % 7 === 0 ? { extra: id, nested: { depth: id % 2 } } : {}),
      vector: vectors.subarray(i * DIMENSION, (i + 1) * DIMENSION),
    };
  });
}

/** What the database makes of a row. */
function stored(item: Item): Row {
  return { ...item, text: item.text ?? "unset" };
}

/** Filters, each with what it means. Null is neither true nor false. */
const FILTERS: [filter: string, means: (item: Item) => boolean][] = [
  ["id < 10", ({ id }) => id < 10],
  ["id in [3, 500, 123456]", ({ id }) => id === 3 || id === 500],
  ["100 <= small < 120", ({ id }) => id % 1000 >= 100 && id % 1000 < 120],
  ["flag == true", ({ flag }) => flag === true],
  ["not (flag == true)", ({ flag }) => flag === false],
  ["medium is null and tiny > 0", ({ medium, tiny }) => medium === null && Number(tiny) > 0],
  ["medium > 500000 or id == 1", ({ medium, id }) => (medium !== null && Number(medium) > 500_000) || id === 1],
  ["large >= 4611686018427387904", ({ large }) => typeof large === "bigint"],
  ["single <= 2.5", ({ single }) => Number(single) <= 2.5],
  ["double > 100.5 && id % 2 == 0", ({ double, id }) => Number(double) > 100.5 && id % 2 === 0],
  ['text == "unset"', ({ text }) => text === undefined],
  ['text like "row 1%"', ({ text }) => String(text).startsWith("row 1")],
  ['text like "%7" or text in ["row 2", "row 4"]', ({ text }) => /7$|^row [24]$/.test(String(text))],
  ['document["colour"] == "red"', ({ document, id }) => document !== null && id % 3 === 0],
  ['document["size"] < 50 and id > 20', ({ document, id }) => document !== null && id > 20 && id < 50],
  ['array_contains(tags, "t3")', ({ tags }) => (tags as string[]).includes("t3")],
  ["array_length(tags) == 3", ({ tags }) => (tags as string[]).length === 3],
  ["extra > 300", ({ extra }) => extra !== undefined && Number(extra) > 300],
  ['$meta["nested"]["depth"] == 1', ({ nested }) => (nested as { depth: number } | undefined)?.depth === 1],
];

describe.each(LAYOUTS)("$layout", ({ nodes }) => {
  let cluster: TestCluster;
  let client: VdbClient;
  beforeAll(async () => {
    const settings = [`coordinator.indexRowsMin=${INDEX_ROWS_MIN}`, "node.metrics=127.0.0.1:0"];
    cluster = await startTestCluster(nodes, settings);
    const [only, another] = cluster.nodes;
    // By function call where that is possible: the other layout goes over NATS.
    client =
      another === undefined ? VdbClient.inProcess(only!.bus) : await VdbClient.connect({ servers: cluster.nats.url });
  });
  afterAll(async () => {
    await client?.close();
    await cluster?.[Symbol.asyncDispose]();
  });
  afterEach(async () => {
    for (const collectionName of await client.listCollections()) await client.dropCollection({ collectionName });
    await expect.poll(() => cluster.placement().heldBytes).toBe(0);
  });

  async function createEveryType(collectionName: string, shardsNum = 1): Promise<void> {
    await client.createCollection({
      collectionName,
      schema: { enableDynamicField: true, fields: EVERY_TYPE },
      indexParams: [VECTOR_INDEX],
      params: { shardsNum },
    });
  }

  /** Flushes, and waits until query nodes serve every row, through an index where there is to be one. */
  async function seal(collectionName: string, indexName = "vector"): Promise<void> {
    await client.flush({ collectionName });
    await expect.poll(() => cluster.placement().heldBytes).toBe(0);
    await expect
      .poll(() => client.describeIndex({ collectionName, indexName }))
      .toMatchObject({ indexState: "Finished", pendingRows: 0 });
  }

  const untilIndexesOpen = (count: number) =>
    expect.poll(() => cluster.placement().indexes).toBeGreaterThanOrEqual(count);

  const count = async (collectionName: string, filter = ""): Promise<number> => {
    const [row] = await client.query({ collectionName, filter, outputFields: ["count(*)"], ...STRONG });
    return Number(row!["count(*)"]);
  };

  const ids = (rows: readonly Row[]): unknown[] => rows.map(({ id }) => id);

  test("every type of field comes back as it was given, from fresh and from sealed rows", async () => {
    await createEveryType("types");
    const description = await client.describeCollection({ collectionName: "types" });
    expect(description).toMatchObject({ autoId: false, enableDynamicField: true, load: "LoadStateLoaded" });
    expect(description.fields.map(({ name, type, nullable }) => ({ name, type, nullable }))).toEqual(
      EVERY_TYPE.map(({ fieldName, dataType, nullable = false }) => ({ name: fieldName, type: dataType, nullable })),
    );
    const items = itemsFrom(0, 60);
    const answer = await client.insert({ collectionName: "types", data: items });
    expect(answer).toEqual({ insertCount: 60, insertIds: items.map(({ id }) => id) });
    const all = () => client.query({ collectionName: "types", filter: "", outputFields: ["*"], limit: 100, ...STRONG });
    expect(await all()).toEqual(items.map(stored));
    await seal("types");
    expect(await all()).toEqual(items.map(stored));
    expect(
      await client.get({ collectionName: "types", id: [42, 999, 7], outputFields: ["text", "extra"], ...STRONG }),
    ).toEqual([
      { id: 7, text: "row 7", extra: 7 },
      { id: 42, text: "unset", extra: 42 },
    ]);
    const [hits = []] = await client.search({
      collectionName: "types",
      data: [items[14]!.vector],
      limit: 1,
      outputFields: ["large", "document", "tags", "nested"],
    });
    expect(hits).toEqual([
      {
        id: 14,
        distance: 0,
        large: 14,
        document: '{"colour":"blue","size":14}',
        tags: ["t4", "t5"],
        nested: { depth: 0 },
      },
    ]);
  });

  test("filters mean the same for fresh rows, sealed rows, and both together", async () => {
    await createEveryType("filters", 2);
    const items = itemsFrom(0, 1000);
    const query = items[77]!.vector;
    const check = async (present: readonly Item[]) => {
      for (const [filter, means] of FILTERS) {
        const matching = present.filter(means);
        const found = await client.query({
          collectionName: "filters",
          filter,
          outputFields: ["id"],
          limit: EVERYTHING,
          ...STRONG,
        });
        expect(ids(found), filter).toEqual(ids(matching));
        expect(await count("filters", filter), filter).toBe(matching.length);
        const [hits = []] = await client.search({
          collectionName: "filters",
          data: [query],
          filter,
          limit: 20,
          searchParams: { params: { ef: 1000 } },
          ...STRONG,
        });
        expectNearest(hits, "L2", query, vectorsOf(matching), 20);
      }
    };
    await client.insert({ collectionName: "filters", data: items.slice(0, 700) });
    await check(items.slice(0, 700));
    await seal("filters");
    await check(items.slice(0, 700));
    await client.insert({ collectionName: "filters", data: items.slice(700) });
    await check(items);
  });

  test("a text key, and templates in filters", async () => {
    await client.createCollection({
      collectionName: "texts",
      dimension: 4,
      idType: "VarChar",
      metricType: "L2",
      params: { max_length: 64, shardsNum: 2 },
    });
    const keys = ["", "ä", "b'c", 'd"e', "日本", "z".repeat(64)];
    const data = keys.map((id, i) => ({ id, vector: [i, 0, 0, 0], n: i }));
    expect(await client.insert({ collectionName: "texts", data })).toMatchObject({ insertIds: keys });
    const get = (id: PrimaryKey[]) => client.get({ collectionName: "texts", id, outputFields: ["n"], ...STRONG });
    expect(await get(["日本", "b'c", "missing"])).toEqual(
      expect.arrayContaining([
        { id: "日本", n: 4 },
        { id: "b'c", n: 2 },
      ]),
    );
    const templated = { collectionName: "texts", filter: "id in {keys}", exprParams: { keys: ['d"e', "ä"] } };
    expect(ids(await client.query({ ...templated, outputFields: ["id"], ...STRONG }))).toEqual(['d"e', "ä"]);
    expect(await client.delete(templated)).toEqual({ deleteCount: 2 });
    await seal("texts");
    expect(await count("texts")).toBe(4);
    const [hits = []] = await client.search({ collectionName: "texts", data: [[4, 0, 0, 0]], limit: 2, ...STRONG });
    expect(hits).toEqual([
      { id: "日本", distance: 0 },
      { id: "z".repeat(64), distance: 1 },
    ]);
  });

  test("generated keys are new, ascending and searchable", async () => {
    await client.createCollection({ collectionName: "auto", dimension: 2, autoID: true, metricType: "L2" });
    const insert = (n: number) => client.insert({ collectionName: "auto", data: { vector: [n, n], n } });
    const keys: number[] = [];
    for (let n = 0; n < 5; n++) keys.push(...((await insert(n)).insertIds as number[]));
    expect(new Set(keys).size).toBe(5);
    expect([...keys].sort((a, b) => a - b)).toEqual(keys);
    const rows = await client.query({ collectionName: "auto", filter: "n >= 3", outputFields: ["n"], ...STRONG });
    expect(rows).toEqual([
      { id: keys[3], n: 3 },
      { id: keys[4], n: 4 },
    ]);
    const { upsertIds } = await client.upsert({ collectionName: "auto", data: { id: keys[4], vector: [9, 9], n: 9 } });
    expect(upsertIds).not.toEqual([keys[4]]);
    expect(await count("auto")).toBe(5);
    expect(await client.query({ collectionName: "auto", filter: "n == 9", outputFields: ["n"], ...STRONG })).toEqual([
      { id: upsertIds[0], n: 9 },
    ]);
  });

  test("a search right after an insert sees it; deletes and upserts hold for fresh and for sealed rows", async () => {
    await createEveryType("changes", 2);
    const collectionName = "changes";
    const model = new Map<number, Item>();
    const put = (items: Item[]) => {
      for (const item of items) model.set(item.id, item);
    };
    const check = async () => {
      expect(await count(collectionName)).toBe(model.size);
      const all = { collectionName, filter: "", outputFields: ["*"], limit: EVERYTHING, ...STRONG };
      const expected = [...model.values()].sort((a, b) => a.id - b.id).map(stored);
      expect(await client.query(all)).toEqual(expected);
      for (const item of [...model.values()].slice(0, 5)) {
        const [hits = []] = await client.search({
          collectionName,
          data: [item.vector],
          limit: 10,
          searchParams: { params: { ef: 1000 } },
          ...STRONG,
        });
        expectNearest(hits, "L2", item.vector, vectorsOf(model.values()), 10);
      }
    };
    const items = itemsFrom(0, 500);
    await client.insert({ collectionName, data: items });
    put(items);
    await check();

    expect(await client.delete({ collectionName, filter: "id in [0, 1, 2, 7777]" })).toEqual({ deleteCount: 4 });
    for (const id of [0, 1, 2]) model.delete(id);
    await check();
    await seal(collectionName);
    await check();

    expect(await client.delete({ collectionName, filter: "small >= 450 and tiny > -200" })).toEqual({
      deleteCount: 50,
    });
    for (let id = 450; id < 500; id++) model.delete(id);
    await check();

    // Over sealed rows, deleted rows, and rows that never were.
    const replaced = itemsFrom(440, 20, 99);
    expect(await client.upsert({ collectionName, data: replaced })).toEqual({
      upsertCount: 20,
      upsertIds: ids(replaced),
    });
    put(replaced);
    await check();
    // Over fresh rows.
    const again = itemsFrom(450, 30, 100);
    await client.upsert({ collectionName, data: again });
    put(again);
    await check();
    await seal(collectionName);
    await check();
  });

  test.each<Metric>(["L2", "IP", "COSINE"])(
    "%s distances are the exact ones, for several queries and for pages",
    async (metric) => {
      const collectionName = `metric_${metric}`;
      await client.createCollection({
        collectionName,
        dimension: DIMENSION,
        metricType: metric,
        params: { shardsNum: 2 },
      });
      const items = itemsFrom(1, 600).map(({ id, vector }) => ({ id, vector }));
      await client.insert({ collectionName, data: items });
      const queries = itemsFrom(0, 5, 21).map(({ vector }) => vector);
      const search = (limit: number, offset = 0) =>
        client.search({
          collectionName,
          data: queries,
          limit,
          offset,
          searchParams: { params: { ef: 1000 } },
          ...STRONG,
        });
      const check = async () => {
        const found = await search(20);
        expect(found).toHaveLength(queries.length);
        for (const [q, query] of queries.entries()) expectNearest(found[q]!, metric, query, vectorsOf(items), 20);
        const pages = [await search(8, 0), await search(8, 8), await search(4, 16)];
        // An index gives the last digit of a distance by the way it took.
        const paged = queries.map((_, q) => pages.flatMap((page) => ids(page[q]!)));
        expect(paged).toEqual(found.map(ids));
      };
      await check();
      await seal(collectionName);
      await untilIndexesOpen(2);
      await check();
    },
  );

  test.each<IndexParams>([
    { fieldName: "vector", indexType: "FLAT" },
    { fieldName: "vector", indexType: "HNSW", params: { M: 16, efConstruction: 100 } },
    { fieldName: "vector", indexType: "IVF_FLAT", params: { nlist: 16 } },
    { fieldName: "vector", indexType: "IVF_SQ8", params: { nlist: 16 } },
    { fieldName: "vector", indexType: "IVF_PQ", params: { nlist: 16, m: 8, nbits: 6 } },
  ])("$indexType gives k rows whenever k rows match, deletes and filters included", async (index) => {
    const collectionName = `index_${index.indexType}`;
    await client.createCollection({
      collectionName,
      schema: {
        fields: [
          { fieldName: "id", dataType: "Int64", isPrimary: true },
          { fieldName: "share", dataType: "Double" },
          { fieldName: "vector", dataType: "FloatVector", elementTypeParams: { dim: DIMENSION } },
        ],
      },
      indexParams: [{ ...index, metricType: "L2" }],
    });
    const total = 2000;
    const items = itemsFrom(0, total).map(({ id, vector }) => ({ id, vector, share: ((id * 7919) % total) / total }));
    await client.insert({ collectionName, data: items });
    await seal(collectionName);
    if (index.indexType !== "FLAT") await untilIndexesOpen(1);
    const isDeleted = (id: number) => id % 5 === 0;
    await client.delete({
      collectionName,
      filter: "id in {gone}",
      exprParams: { gone: ids(items.filter(({ id }) => isDeleted(id))) },
    });
    const query = itemsFrom(0, 1, 33)[0]!.vector;
    for (const share of [0.01, 0.1, 0.5, 1]) {
      const matching = items.filter((item) => item.share < share && !isDeleted(item.id));
      for (const limit of [10, 100]) {
        const [hits = []] = await client.search({
          collectionName,
          data: [query],
          filter: `share < ${share}`,
          limit,
          searchParams: { params: { ef: 1000, nprobe: 16 } },
          ...STRONG,
        });
        const where = `${share * 100} %, k ${limit}`;
        expect(hits, where).toHaveLength(Math.min(limit, matching.length));
        expect(new Set(ids(hits)).size, where).toBe(hits.length);
        const allowed = new Set(ids(matching));
        expect(
          hits.filter(({ id }) => !allowed.has(id)),
          where,
        ).toEqual([]);
        // Quantised vectors are near the true ones, not equal to them.
        if (!/SQ8|PQ/.test(index.indexType!)) expectNearest(hits, "L2", query, vectorsOf(matching), limit);
      }
    }
  });

  test("each consistency level sees what it promises", async () => {
    await client.createCollection({ collectionName: "levels", dimension: 2, params: { shardsNum: 2 } });
    const other = await VdbClient.connect({ servers: cluster.nats.url });
    const counted = async (reader: VdbClient, consistencyLevel: "Strong" | "Session" | "Bounded" | "Eventually") => {
      const [row] = await reader.query({ collectionName: "levels", outputFields: ["count(*)"], consistencyLevel });
      return Number(row!["count(*)"]);
    };
    try {
      for (let written = 1; written <= 20; written++) {
        const writer = written % 2 === 0 ? client : other;
        const reader = written % 2 === 0 ? other : client;
        await writer.insert({ collectionName: "levels", data: { id: written, vector: [written, 1] } });
        expect(await counted(writer, "Session")).toBe(written);
        expect(await counted(reader, "Strong")).toBe(written);
      }
      for (const level of ["Bounded", "Eventually"] as const) {
        await expect.poll(() => counted(other, level)).toBe(20);
      }
    } finally {
      await other.close();
    }
  });

  test("metrics tell what is done", async () => {
    const scrape = async () =>
      readScrapes(
        await Promise.all(cluster.nodes.map(async ({ metrics }) => (await fetch(`http://${metrics}/metrics`)).text())),
      );
    const collectionName = "measured";
    await createEveryType(collectionName);
    const before = await scrape();
    const items = itemsFrom(0, 300);
    await client.insert({ collectionName, data: items });
    const search = (name: string) => client.search({ collectionName: name, data: [items[3]!.vector], limit: 5 });
    await search(collectionName);
    const growing = await scrape();
    await seal(collectionName);
    let after = growing;
    const rise = (name: string, labels: Record<string, string>) =>
      after.sum(name, labels) - (before.sum(name, labels) || 0);
    const segments = (state: string) => after.sum("vdb_segments", { state });
    // The index may be opened a moment after it was built: until then its rows are scanned.
    const engineSearches = async () => {
      await search(collectionName);
      after = await scrape();
      return rise("vdb_engine_searches_total", {});
    };
    await expect.poll(engineSearches).toBeGreaterThan(0);
    await expect(search("nowhere")).rejects.toMatchObject({ code: 100 });
    await client.delete({ collectionName, filter: "id in [1, 2]" });
    const segmentsNow = async () => {
      after = await scrape();
      return ["flushed", "indexed", "served", "unserved"].map(segments);
    };
    await expect.poll(segmentsNow).toEqual([1, 1, 1, 0]);

    expect(growing.sum("vdb_growing_rows") - before.sum("vdb_growing_rows")).toBe(300);
    expect(growing.sum("vdb_growing_bytes")).toBeGreaterThan(300 * DIMENSION * 4);
    expect(growing.sum("vdb_wal_lag_messages")).toBeGreaterThan(0);
    expect(after.sum("vdb_growing_rows")).toBe(0);
    expect(rise("vdb_rows_written_total", { operation: "insert" })).toBe(300);
    expect(rise("vdb_rows_written_total", { operation: "delete" })).toBe(2);
    expect(rise("vdb_flushes_total", { outcome: "done" })).toBeGreaterThan(0);
    expect(rise("vdb_jobs_total", { kind: "build-index", outcome: "done" })).toBeGreaterThan(0);
    for (const [role, operation, count] of [
      ["proxy", "entities.search", 3],
      ["proxy", "entities.insert", 1],
      ["streaming", "append", 2],
      ["streaming", "search", 2],
      ["query", "search", 1],
      ["data", "build-index", 1],
    ] as const) {
      // A call that is late is sent again.
      expect(rise("vdb_request_duration_seconds_count", { role, operation })).toBeGreaterThanOrEqual(count);
    }
    const refused = { role: "proxy", operation: "entities.search", kind: "collection_not_found" };
    expect(rise("vdb_request_errors_total", refused)).toBeGreaterThan(0);
    expect(after.sum("vdb_segment_rows")).toBe(300);
    expect(after.sum("vdb_coordinator_leading")).toBe(1);
    for (const role of ROLES) expect(after.sum("vdb_nodes", { role })).toBe(1);
    expect(after.sum("vdb_channel_open")).toBe(4);
    expect(after.sum("vdb_nats_connected")).toBe(4 * nodes.length);
    expect(after.sum("process_resident_memory_bytes")).toBeGreaterThan(0);
  });

  test("released, loaded again, dropped, made anew", async () => {
    await createEveryType("life", 2);
    const collectionName = "life";
    const items = itemsFrom(0, 300);
    await client.insert({ collectionName, data: items.slice(0, 250) });
    await seal(collectionName);
    await client.insert({ collectionName, data: items.slice(250) });
    const search = () =>
      client.search({
        collectionName,
        data: [items[3]!.vector],
        limit: 50,
        searchParams: { params: { ef: 1000 } },
        ...STRONG,
      });
    const before = await search();

    await client.releaseCollection({ collectionName });
    expect(await client.getLoadState({ collectionName })).toEqual({ loadState: "LoadStateNotLoad" });
    await expect(search()).rejects.toMatchObject({ code: 101 });
    // Writes do not need a loaded collection.
    const late = itemsFrom(300, 10);
    await client.insert({ collectionName, data: late });
    await client.delete({ collectionName, filter: "id in [300]" });

    await client.loadCollection({ collectionName });
    expect(await count(collectionName)).toBe(309);
    await client.delete({ collectionName, filter: "id >= 300" });
    expect(await search()).toEqual(before);

    await client.dropCollection({ collectionName });
    expect(await client.hasCollection({ collectionName })).toBe(false);
    await expect(search()).rejects.toMatchObject({ code: 100 });
    await createEveryType(collectionName);
    expect(await count(collectionName)).toBe(0);
    await client.insert({ collectionName, data: items.slice(0, 3) });
    expect(new Set(ids((await search())[0]!))).toEqual(new Set([0, 1, 2]));
  });
});

function vectorsOf(items: Iterable<{ id: number; vector: Float32Array }>): Map<number, Float32Array> {
  return new Map(Array.from(items, ({ id, vector }) => [id, vector]));
}

/** The hits have the k best distances, in order, and each hit's distance is that of its row. */
function expectNearest(
  hits: readonly Hit[],
  metric: Metric,
  query: Float32Array,
  vectors: Map<number, Float32Array>,
  k: number,
): void {
  const best = bestDistances(metric, query, vectors.values(), k);
  expect(hits.map(({ distance }) => distance)).toEqual(best.map((distance) => expect.closeTo(distance, 3)));
  const exact = hits.map(({ id }) => distanceOf(metric, query, vectors.get(id as number)!));
  expect(hits.map(({ distance }) => distance)).toEqual(exact.map((distance) => expect.closeTo(distance, 3)));
}
