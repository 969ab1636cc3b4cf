/**
 * `node dist/bench/held-loop.js [--rows 300000] [--times 3] [--only text]`: how long the event loop of a node is held while it
 * answers requests that are as large as the API allows. All roles in one process on a nats-server of its own; the client is a
 * thread, so that making requests and reading replies is not measured. For each request it reports the smallest of the longest
 * pauses: other processes hardly disturb every run.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { parseArgs } from "node:util";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { startTestCluster } from "../runtime/testing/cluster.ts";
import { seededNumbers } from "../runtime/testing/vectors.ts";

type Body = Record<string, unknown>;

interface Probe {
  name: string;
  path: string;
  body: () => Body | string;
}

interface Options {
  address: string;
  rows: number;
  times: number;
  only: string;
}

const LONG = "long";
const MANY = "many";
const WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"];

if (isMainThread) await serve();
else await probe(workerData as Options);

async function serve(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rows: { type: "string", default: "300000" },
      times: { type: "string", default: "3" },
      only: { type: "string", default: "" },
    },
  });
  await using cluster = await startTestCluster(undefined, ["proxy.http=127.0.0.1:0"]);
  const { http } = cluster.nodes[0]!.observe().proxy as { http: string };
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const options: Options = { address: http, rows: Number(values.rows), times: Number(values.times), only: values.only };
  const worker = new Worker(new URL(import.meta.url), { workerData: options });
  worker.on("message", (message: "start" | "end") => {
    if (message === "start") {
      delay.reset();
      worker.postMessage(0);
    } else {
      // The current pause is counted when it is over.
      setTimeout(() => worker.postMessage(delay.max / 1e6), 5);
    }
  });
  await new Promise((resolve, reject) => {
    worker.on("exit", resolve);
    worker.on("error", reject);
  });
}

async function probe({ address, rows, times, only }: Options): Promise<void> {
  const port = parentPort!;
  const told = (message: "start" | "end") =>
    new Promise<number>((resolve) => {
      port.once("message", resolve);
      port.postMessage(message);
    });
  const post = async (path: string, body: Body | string): Promise<{ code: number; message?: string }> => {
    const text = typeof body === "string" ? body : JSON.stringify(body);
    const response = await fetch(`http://${address}/v2/vectordb/${path}`, { method: "POST", body: text });
    return (await response.json()) as { code: number };
  };
  const must = async (path: string, body: Body) => {
    const reply = await post(path, body);
    if (reply.code !== 0) throw new Error(`${path}: ${reply.message}`);
  };
  await fill(must, rows);
  console.log(`${"request".padEnd(52)} ${"pause ms".padStart(9)} ${"took ms".padStart(9)}`);
  for (const { name, path, body } of probes(rows)) {
    if (!name.includes(only)) continue;
    const given = body();
    const text = typeof given === "string" ? given : JSON.stringify(given);
    let pause = Number.POSITIVE_INFINITY;
    let took = Number.POSITIVE_INFINITY;
    let code = 0;
    for (let n = 0; n < times; n++) {
      await told("start");
      const started = performance.now();
      const reply = await post(path, text);
      took = Math.min(took, performance.now() - started);
      pause = Math.min(pause, await told("end"));
      code = reply.code;
      if (code !== 0 && n === 0) console.log(`  ${name}: ${code} ${reply.message?.slice(0, 200)}`);
    }
    console.log(`${name.padEnd(52)} ${pause.toFixed(1).padStart(9)} ${took.toFixed(0).padStart(9)}`);
  }
  port.close();
}

async function fill(must: (path: string, body: Body) => Promise<void>, rows: number): Promise<void> {
  const field = (fieldName: string, dataType: string, elementTypeParams: Body = {}, more: Body = {}) => ({
    ...{ fieldName, dataType, elementTypeParams },
    ...more,
  });
  const key = field("id", "Int64", {}, { isPrimary: true });
  const index = (fieldName: string, metricType: string) => ({ fieldName, metricType, indexType: "AUTOINDEX" });
  await must("collections/create", {
    collectionName: MANY,
    schema: {
      enableDynamicField: true,
      fields: [
        ...[key, field("num", "Int64"), field("few", "Int64"), field("name", "VarChar", { max_length: 100 })],
        ...[field("facts", "JSON"), field("vec", "FloatVector", { dim: 2 }), field("sparse", "SparseFloatVector")],
      ],
    },
    indexParams: [index("vec", "L2"), index("sparse", "IP")],
  });
  const analyzed = { max_length: 65_535, enable_analyzer: true, enable_match: true };
  await must("collections/create", {
    collectionName: LONG,
    schema: {
      enableDynamicField: true,
      fields: [
        ...[key, field("text", "VarChar", analyzed), field("facts", "JSON"), field("bm25", "SparseFloatVector")],
        field("list", "Array", { max_capacity: 4096 }, { elementDataType: "Int64" }),
        ...[field("wide", "FloatVector", { dim: 32_768 }), field("sparse", "SparseFloatVector")],
      ],
      functions: [{ name: "f", type: "BM25", inputFieldNames: ["text"], outputFieldNames: ["bm25"] }],
    },
    indexParams: [index("wide", "L2"), index("sparse", "IP"), { ...index("bm25", "BM25") }],
  });
  const next = seededNumbers(1);
  for (let start = 0; start < rows; start += 5_000) {
    const data = Array.from({ length: Math.min(5_000, rows - start) }, (_, i) => ({
      id: start + i,
      num: Math.floor(next() * 90_000),
      few: i % 10,
      name: `name ${Math.floor(next() * 1e9)}`,
      facts: { k: start + i, deep: { a: [i] } },
      vec: [next(), next()],
      sparse: { [i]: 1, [10_000 + Math.floor(next() * 1e6)]: next() },
      own: i,
    }));
    await must("entities/insert", { collectionName: MANY, data });
  }
  for (let start = 0; start < 100; start += 10) {
    const data = Array.from({ length: 10 }, (_, i) => longRow(start + i));
    await must("entities/insert", { collectionName: LONG, data });
  }
}

function longText(seed: number): string {
  const next = seededNumbers(seed + 1);
  let text = "";
  while (text.length < 65_400) text += `${WORDS[Math.floor(next() * WORDS.length)]}${Math.floor(next() * 3_000)} `;
  return text;
}

function longRow(id: number): Body {
  return {
    id,
    text: longText(id),
    facts: Object.fromEntries(Array.from({ length: 4_000 }, (_, i) => [`k${i}`, i])),
    list: Array.from({ length: 4_096 }, (_, i) => i),
    wide: new Array(32_768).fill(0.25),
    sparse: Object.fromEntries(Array.from({ length: 2_000 }, (_, i) => [i * 7, 0.5])),
  };
}

function pairs(count: number): string {
  return Array.from({ length: count }, (_, i) => `"${i * 13}":0.5`).join();
}

/** Nested objects, as deep as JSON fields may be. */
function nested(depth: number): Body {
  let value: Body = { end: 1 };
  for (let i = 1; i < depth; i++) value = { a: value };
  return value;
}

function probes(rows: number): Probe[] {
  const strong = { consistencyLevel: "Strong" };
  const query = (name: string, body: Body): Probe => ({
    name: `query: ${name}`,
    path: "entities/query",
    body: () => ({ collectionName: MANY, ...strong, ...body }),
  });
  const longQuery = (name: string, body: Body) => query(name, { collectionName: LONG, ...body });
  const search = (name: string, body: Body): Probe => ({
    name: `search: ${name}`,
    path: "entities/search",
    body: () => ({ collectionName: MANY, annsField: "vec", data: [[0.5, 0.5]], ...strong, ...body }),
  });
  const insert = (name: string, body: () => Body | string): Probe => ({
    name: `insert: ${name}`,
    path: "entities/insert",
    body,
  });
  const ids = (count: number) => Array.from({ length: count }, (_, i) => i * 3);
  let id = 10_000_000;
  const plain = () => ({ ...longRow(id++), text: "short", list: [1], facts: {}, sparse: { 1: 1 } });
  const oneLong = (more: Body) => () => ({ collectionName: LONG, data: [{ ...plain(), ...more }] });
  const sparseRow = (count: number) => () =>
    JSON.stringify({ collectionName: LONG, data: [plain()] }).replace('"sparse":{"1":1}', `"sparse":{${pairs(count)}}`);
  return [
    insert("a sparse row of 50,000 pairs", sparseRow(50_000)),
    insert("a sparse row of 300,000 pairs", sparseRow(300_000)),
    insert("a sparse row of 300,000 pairs, lists", () => ({
      collectionName: LONG,
      data: [{ ...plain(), sparse: { indices: ids(300_000), values: new Array(300_000).fill(0.5) } }],
    })),
    insert("a text of 65,535 bytes", oneLong({ text: longText(7) })),
    insert("one long word", oneLong({ text: "a".repeat(65_535) })),
    insert("20 texts of 65,535 bytes", () => ({
      collectionName: LONG,
      data: Array.from({ length: 20 }, (_, i) => ({ ...plain(), text: longText(i) })),
    })),
    insert("JSON as deep as it may be", oneLong({ facts: nested(90) })),
    insert("a list of 4,096", oneLong({ list: ids(4_096) })),
    insert("8 MiB of dynamic keys", () => ({
      collectionName: MANY,
      data: Array.from({ length: 120 }, () => ({
        ...{ id: id++, num: 1, few: 1, name: "n", facts: {}, vec: [0, 0], sparse: { 1: 1 } },
        ...Object.fromEntries(Array.from({ length: 4_500 }, (_, i) => [`key${i}`, i])),
      })),
    })),
    insert("20,000 small rows", () => ({
      collectionName: MANY,
      data: Array.from({ length: 20_000 }, (_, i) => ({
        ...{ id: id++, num: i, few: 1, name: `n${i}`, facts: { i }, vec: [9, i], sparse: { [i]: 1 }, own: i },
      })),
    })),
    query("16,384 rows", { filter: "id >= 0", limit: 16_384, outputFields: ["*"] }),
    query("16,384 rows as columns", { filter: "id >= 0", limit: 16_384, outputFields: ["*"], resultFormat: "columns" }),
    query("id in 100,000", {
      filter: "id in {ids}",
      exprParams: { ids: ids(100_000) },
      limit: 16_384,
      outputFields: ["id"],
    }),
    query("id in 16,384, as text", { filter: `id in [${ids(16_384).join()}]`, limit: 10, outputFields: ["id"] }),
    query("num in 100,000", {
      filter: "num in {ids}",
      exprParams: { ids: ids(100_000) },
      limit: 10,
      outputFields: ["id"],
    }),
    query("a JSON path in 20,000", {
      filter: 'facts["k"] in {ids}',
      ...{ exprParams: { ids: ids(20_000) }, limit: 10, outputFields: ["id"] },
    }),
    query("2,000 comparisons joined by or", {
      filter: ids(2_000)
        .map((n) => `num == ${n}`)
        .join(" or "),
      ...{ limit: 10, outputFields: ["id"] },
    }),
    query("like with wildcards", { filter: 'name like "%1%2%3%"', limit: 10, outputFields: ["id"] }),
    query("order by a text", { filter: "id >= 0", limit: 16_384, orderByFields: ["name"], outputFields: ["id"] }),
    query("order by a number", { filter: "id >= 0", limit: 16_384, orderByFields: ["num:desc"], outputFields: ["id"] }),
    query("order by a JSON path", {
      filter: "id >= 0",
      limit: 16_384,
      orderByFields: ['facts["k"]'],
      outputFields: ["id"],
    }),
    query("order by 4 fields", {
      ...{ filter: "id >= 0", limit: 16_384, orderByFields: ["few", "num", "name", "own"], outputFields: ["id"] },
    }),
    query("count(distinct) of 90,000", { outputFields: ["count(distinct num)"] }),
    query("90,000 groups", {
      groupByFields: ["num"],
      outputFields: ["count(*)", "max(name)", "avg(id)"],
      limit: 16_384,
    }),
    query("90,000 groups in another order", {
      ...{
        groupByFields: ["num"],
        outputFields: ["count(*)", "max(name)"],
        orderByFields: ["max(name):desc"],
        limit: 16_384,
      },
    }),
    query("groups of texts", {
      ...{ filter: "id < 90000", groupByFields: ["name"], outputFields: ["count(*)"], limit: 16_384 },
    }),
    longQuery("long rows", { filter: "id >= 0", limit: 50, outputFields: ["*"] }),
    longQuery("text_match of long texts", {
      filter: 'text_match(text, "alpha7 beta8")',
      limit: 5,
      outputFields: ["id"],
    }),
    longQuery("text_match by a long text", {
      filter: "text_match(text, {t})",
      exprParams: { t: longText(3) },
      limit: 5,
    }),
    longQuery("phrase_match by a long text", {
      ...{ filter: "phrase_match(text, {t}, 10)", exprParams: { t: longText(3) }, limit: 5, outputFields: ["id"] },
    }),
    longQuery("phrase_match", { filter: 'phrase_match(text, "alpha7 beta8", 1000)', limit: 5, outputFields: ["id"] }),
    longQuery("order by a long text", { filter: "id >= 0", limit: 100, orderByFields: ["text"], outputFields: ["id"] }),
    longQuery("order by a path in long JSON", {
      ...{ filter: "id >= 0", limit: 100, orderByFields: ['facts["k3999"]'], outputFields: ["id"] },
    }),
    longQuery("a filter of a path in long JSON", { filter: 'facts["k3999"] > 5', limit: 5, outputFields: ["id"] }),
    longQuery("like over long texts", { filter: 'text like "%zeta7%eta9%x%"', limit: 5, outputFields: ["id"] }),
    longQuery("array_contains_all of 4,096", {
      ...{ filter: "array_contains_all(list, {ids})", exprParams: { ids: ids(1_000) }, limit: 5, outputFields: ["id"] },
    }),
    longQuery("groups of long texts", { groupByFields: ["text"], outputFields: ["count(*)"], limit: 10 }),
    search("16,384 hits", { limit: 16_384, outputFields: ["id"] }),
    search("16,384 hits with everything", { limit: 16_384, outputFields: ["*"] }),
    search("256 queries of 16,384 hits", {
      data: Array.from({ length: 256 }, (_, i) => [i / 256, 0.5]),
      limit: 16_000,
    }),
    search("16,384 queries", { data: Array.from({ length: 16_384 }, (_, i) => [i / 16_384, 0.5]), limit: 1 }),
    search("16,384 groups", { limit: 16_384, groupingField: "num" }),
    search("1,000 groups of 16", { limit: 1_000, groupingField: "num", groupSize: 3 }),
    search("10 groups of 1,000", { limit: 10, groupingField: "few", groupSize: 1_000 }),
    search("10 groups of 1,000, strict", { limit: 10, groupingField: "few", groupSize: 1_000, strictGroupSize: true }),
    search("16,384 hits in another order", { limit: 16_384, orderByFields: ["name"], outputFields: ["id"] }),
    search("decay of 16,384", {
      limit: 16_384,
      functionScore: {
        functions: [
          {
            ...{ name: "d", type: "Rerank", inputFieldNames: ["num"] },
            params: { reranker: "decay", function: "gauss", origin: 10, scale: 1_000 },
          },
        ],
      },
    }),
    search("a sparse query of 100,000 pairs", {
      ...{ annsField: "sparse", limit: 100 },
      data: [{ indices: ids(100_000), values: new Array(100_000).fill(1) }],
    }),
    search("a text of 65,535 bytes", { collectionName: LONG, annsField: "bm25", data: [longText(5)], limit: 10 }),
    search("a highlighter on long texts", {
      ...{
        collectionName: LONG,
        annsField: "bm25",
        data: ["alpha1 beta2 gamma3 zeta4"],
        limit: 50,
        outputFields: ["text"],
      },
      highlighter: { type: "Lexical", params: { highlight_search_text: true, num_of_fragments: 50 } },
    }),
    search("a highlighter by a long text", {
      ...{ collectionName: LONG, annsField: "bm25", data: [longText(5)], limit: 50, outputFields: ["text"] },
      highlighter: { type: "Lexical", params: { highlight_search_text: true, num_of_fragments: 50 } },
    }),
    {
      name: "hybrid: 200 searches of 1,000",
      path: "entities/hybrid_search",
      body: () => ({
        collectionName: MANY,
        search: Array.from({ length: 200 }, (_, i) => ({ annsField: "vec", data: [[i / 200, 0.5]], limit: 1_000 })),
        rerank: { strategy: "rrf", params: { k: 60 } },
        limit: 1_000,
        ...strong,
      }),
    },
    {
      name: "hybrid: 2 searches of 16,384",
      path: "entities/hybrid_search",
      body: () => ({
        collectionName: MANY,
        search: Array.from({ length: 2 }, (_, i) => ({ annsField: "vec", data: [[i / 2, 0.5]], limit: 16_384 })),
        rerank: { strategy: "weighted", params: { weights: [0.5, 0.5] } },
        limit: 16_384,
        ...strong,
      }),
    },
    {
      name: "get: 16,384 keys",
      path: "entities/get",
      body: () => ({ collectionName: MANY, id: ids(16_384), ...strong }),
    },
    {
      name: "upsert: 10,000 rows",
      path: "entities/upsert",
      body: () => ({
        collectionName: MANY,
        data: Array.from({ length: 10_000 }, (_, i) => ({
          ...{ id: i, num: i, few: 1, name: `n${i}`, facts: { i }, vec: [9, i], sparse: { [i]: 1 }, own: i },
        })),
      }),
    },
    {
      name: "upsert: 5,000 rows in part",
      path: "entities/upsert",
      body: () => ({
        ...{ collectionName: MANY, partialUpdate: true },
        data: Array.from({ length: 5_000 }, (_, i) => ({ id: i, num: i })),
      }),
    },
    {
      name: "delete: 100,000 keys",
      path: "entities/delete",
      body: () => ({
        collectionName: MANY,
        filter: "id in {ids}",
        exprParams: { ids: ids(100_000).map((n) => n + rows * 10) },
      }),
    },
    {
      name: "delete: by a filter",
      path: "entities/delete",
      body: () => ({ collectionName: MANY, filter: "few == 9" }),
    },
  ];
}
