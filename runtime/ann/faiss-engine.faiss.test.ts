/** The engine over the real FAISS: files built here, hosts killed for real. 5,000 rows: enough for recall to mean something. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createLogger } from "../logger.ts";
import { isDescending, METRICS, type Metric } from "../schema.ts";
import { systemClock } from "../system-clock.ts";
import { clusteredVectors, recall } from "../testing/vectors.ts";
import { TopK } from "../topk.ts";
import { buildIndex } from "./build-index.ts";
import type { IndexToLoad, Neighbours, SearchEngine } from "./engine.ts";
import { prepareQueries, scanExact } from "./exact.ts";
import { createFaissEngine } from "./faiss-engine.ts";
import { checkIndexParams } from "./index-params.ts";

const ROWS = 5000;
const DIMENSION = 64;
const NQ = 100;
const K = 10;

const vectors = clusteredVectors(ROWS, DIMENSION, 11);
const queries = clusteredVectors(NQ, DIMENSION, 12);

let dir: string;
let vectorsFile: string;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "vdb-faiss-engine-"));
  vectorsFile = join(dir, "vectors.f32");
  writeFileSync(vectorsFile, vectors);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

interface Built {
  file: string;
  index: IndexToLoad;
}

const built = new Map<string, Promise<Built>>();

/** Builds each distinct index once; with one thread, because the order in which threads add rows changes the graph. */
function index(type: string, metric: Metric, params: Record<string, unknown> = {}): Promise<Built> {
  const name = `${type}-${metric}-${JSON.stringify(params).replaceAll(/\W/g, "_")}`;
  let building = built.get(name);
  if (building === undefined) {
    building = (async () => {
      const file = join(dir, `${name}.faiss`);
      const spec = checkIndexParams(type, metric, DIMENSION, params);
      await buildIndex({ spec, metric, dimension: DIMENSION, rows: ROWS, vectorsFile, outFile: file, threads: 1 });
      return { file, index: { ...spec, metric, dimension: DIMENSION, rows: ROWS } };
    })();
    built.set(name, building);
  }
  return building;
}

function newEngine(overrides: { threads?: number; recycleBytes?: number } = {}): Promise<SearchEngine> {
  const logger = createLogger({ level: "silent" });
  return createFaissEngine({ clock: systemClock, logger, threads: 1, scratchDir: dir, ...overrides });
}

async function load(engine: SearchEngine, key: string, { file, index: what }: Built): Promise<void> {
  await engine.load(key, file, what);
}

async function engineWith(key: string, loaded: Built, overrides = {}): Promise<SearchEngine> {
  const engine = await newEngine(overrides);
  await load(engine, key, loaded);
  return engine;
}

function exact(metric: Metric, k = K): Neighbours {
  const heaps = Array.from({ length: NQ }, () => new TopK(k, isDescending(metric)));
  scanExact(prepareQueries(metric, queries, DIMENSION), { vectors, rowCount: ROWS, firstRow: 0 }, null, heaps);
  const rows = new Int32Array(NQ * k);
  const distances = new Float32Array(NQ * k);
  for (const [q, heap] of heaps.entries()) {
    const top = heap.drain();
    rows.set(top.rows, q * k);
    distances.set(top.distances, q * k);
  }
  return { rows, distances };
}

const oneQuery = (q: number) => queries.subarray(q * DIMENSION, (q + 1) * DIMENSION);

describe("search", () => {
  let engine: SearchEngine;
  beforeAll(async () => {
    engine = await newEngine();
  });
  afterAll(() => engine[Symbol.asyncDispose]());

  it.each(METRICS)("gives the exact neighbours and distances of %s from FLAT", async (metric) => {
    await load(engine, "a", await index("FLAT", metric));
    const truth = exact(metric);
    const found = await engine.search("a", queries, K, {});
    expect(recall(found.rows, truth.rows, K)).toBeGreaterThan(0.999);
    for (const [i, distance] of found.distances.entries()) expect(distance).toBeCloseTo(truth.distances[i]!, 3);
  });

  it.each([
    ["HNSW", "L2", { M: 16, efConstruction: 100 }, { ef: 64 }, 0.95],
    ["HNSW", "IP", { M: 16, efConstruction: 100 }, { ef: 64 }, 0.9],
    ["HNSW", "COSINE", { M: 16, efConstruction: 100 }, { ef: 64 }, 0.95],
    ["AUTOINDEX", "COSINE", {}, {}, 0.95],
    ["IVF_FLAT", "L2", { nlist: 32 }, { nprobe: 16 }, 0.95],
    ["IVF_SQ8", "COSINE", { nlist: 32 }, { nprobe: 16 }, 0.9],
    ["IVF_PQ", "L2", { nlist: 32, m: 16 }, { nprobe: 16 }, 0.5],
  ] as const)("finds most true neighbours with %s and %s", async (type, metric, params, searchParams, atLeast) => {
    await load(engine, "a", await index(type, metric, params));
    const found = await engine.search("a", queries, K, searchParams);
    expect(recall(found.rows, exact(metric).rows, K)).toBeGreaterThanOrEqual(atLeast);
    for (let q = 0; q < NQ; q++) {
      const distances = [...found.distances.subarray(q * K, (q + 1) * K)];
      expect(distances).toEqual(distances.toSorted((a, b) => (isDescending(metric) ? b - a : a - b)));
    }
  });

  it("finds more with a larger efConstruction than FAISS's 40", async () => {
    const truth = exact("L2").rows;
    const found: number[] = [];
    for (const efConstruction of [40, 360]) {
      await load(engine, "a", await index("HNSW", "L2", { M: 8, efConstruction }));
      found.push(recall((await engine.search("a", queries, K, { ef: 16 })).rows, truth, K));
    }
    expect(found[1]).toBeGreaterThan(found[0]! + 0.01);
  });

  it("finds more with more effort, and leaves the index file as it was", async () => {
    const hnsw = await index("HNSW", "L2", { M: 4, efConstruction: 40 });
    const ivf = await index("IVF_FLAT", "L2", { nlist: 32 });
    const before = [await readFile(hnsw.file), await readFile(ivf.file)];
    await load(engine, "hnsw", hnsw);
    await load(engine, "ivf", ivf);
    const truth = exact("L2").rows;
    const recallOf = async (key: string, params: { ef?: number; nprobe?: number }) =>
      recall((await engine.search(key, queries, K, params)).rows, truth, K);
    // Up and down again, over more efforts than there are variants.
    const efs = [
      await recallOf("hnsw", { ef: 16 }),
      await recallOf("hnsw", { ef: 64 }),
      await recallOf("hnsw", { ef: 256 }),
    ];
    expect(efs[1]).toBeGreaterThan(efs[0]!);
    expect(efs[2]).toBeGreaterThan(efs[1]!);
    // Maybe by a larger variant that is open anyway.
    expect(await recallOf("hnsw", { ef: 16 })).toBeGreaterThanOrEqual(efs[0]!);
    expect(await recallOf("ivf", { nprobe: 32 })).toBeGreaterThan(0.999);
    expect(await recallOf("ivf", { nprobe: 1 })).toBeLessThan(0.999);
    expect(before[0]!.equals(await readFile(hnsw.file))).toBe(true);
    expect(before[1]!.equals(await readFile(ivf.file))).toBe(true);
  });

  it("answers many concurrent searches of different indexes, k and effort, each with its own", async () => {
    await using many = await engineWith("flat", await index("FLAT", "L2"), { threads: 2 });
    const ip = await index("FLAT", "IP");
    await many.load("ip", ip.file, ip.index);
    const truths = { flat: exact("L2", 20).rows, ip: exact("IP", 20).rows };
    const searches = Array.from({ length: 300 }, async (_, i) => {
      const key = i % 3 === 0 ? ("ip" as const) : ("flat" as const);
      const k = 1 + (i % 20);
      const found = await many.search(key, oneQuery(i % NQ), k, {});
      const truth = truths[key].subarray((i % NQ) * 20, (i % NQ) * 20 + k);
      expect(recall(found.rows, truth, k)).toBeGreaterThan(0.9);
    });
    await Promise.all(searches);
    expect(many.observe()).toMatchObject({ indexes: 2, searches: 300, queued: 0, inFlight: 0 });
  });

  it("fills with -1 where k is more than there are rows", async () => {
    const few = join(dir, "few.f32");
    writeFileSync(few, vectors.subarray(0, 3 * DIMENSION));
    for (const type of ["FLAT", "HNSW", "IVF_FLAT"]) {
      const file = join(dir, `few-${type}.faiss`);
      const what = {
        ...checkIndexParams(type, "L2", DIMENSION, {}),
        metric: "L2" as const,
        dimension: DIMENSION,
        rows: 3,
      };
      await buildIndex({ spec: what, ...what, vectorsFile: few, outFile: file, threads: 1 });
      await engine.load(type, file, what);
      const found = await engine.search(type, queries, 5, {});
      expect(found.rows.length).toBe(NQ * 5);
      for (let q = 0; q < NQ; q++) {
        expect(found.rows.slice(q * 5, q * 5 + 3).sort()).toEqual(Int32Array.of(0, 1, 2));
        expect(found.rows.slice(q * 5 + 3, q * 5 + 5)).toEqual(Int32Array.of(-1, -1));
      }
    }
  });

  it("refuses an index that is not loaded, and a deadline that has passed", async () => {
    await load(engine, "a", await index("FLAT", "L2"));
    await expect(engine.search("b", oneQuery(0), K, {})).rejects.toMatchObject({ kind: "segment_not_loaded" });
    const past = systemClock.monotonic() - 1;
    await expect(engine.search("a", oneQuery(0), K, {}, past)).rejects.toMatchObject({ kind: "deadline_exceeded" });
    engine.unload("a");
    await expect(engine.search("a", oneQuery(0), K, {})).rejects.toMatchObject({ kind: "segment_not_loaded" });
  });
});

describe("load", () => {
  it("refuses a damaged file and one that is not what it is said to be, and goes on", async () => {
    const good = await index("HNSW", "L2", { M: 16, efConstruction: 100 });
    await using engine = await engineWith("good", good);
    const damaged = join(dir, "damaged.faiss");
    await writeFile(damaged, (await readFile(good.file)).subarray(0, 100_000));
    await expect(engine.load("bad", damaged, good.index)).rejects.toMatchObject({ kind: "corrupt" });
    await expect(engine.load("bad", good.file, { ...good.index, rows: 4999 })).rejects.toThrow(
      "must hold HNSW L2 of 4999 x 64, it holds HNSW L2 of 5000 x 64",
    );
    expect((await engine.search("good", oneQuery(0), K, {})).rows[0]).toBeGreaterThanOrEqual(0);
  });

  it("refuses a file of the right structure that FAISS refuses", async () => {
    const good = await index("IVF_SQ8", "COSINE", { nlist: 32 });
    await using engine = await engineWith("good", good);
    const bytes = await readFile(good.file);
    // The size of a code, said again right before by_residual and the lists: FAISS compares it with that of the lists.
    bytes.writeBigUInt64LE(1n, bytes.indexOf("ilar") - 9);
    const damaged = join(dir, "refused.faiss");
    await writeFile(damaged, bytes);
    const error = await engine.load("bad", damaged, good.index).catch((e: unknown) => e);
    expect(error).toMatchObject({ kind: "corrupt", message: expect.stringContaining("refused by FAISS") });
    expect(engine.observe().restarts).toBe(0);
  });

  it("gives up a file that kills two hosts, and keeps serving the others", async () => {
    const good = await index("IVF_PQ", "L2", { nlist: 32, m: 16 });
    await using engine = await engineWith("good", good);
    const bytes = await readFile(good.file);
    // M = 0 sub-quantizers: FAISS divides by it. Before it stand d, behind it nbits and the 256 x 64 centroids.
    bytes.writeBigUInt64LE(0n, bytes.indexOf("ilar") - 256 * DIMENSION * 4 - 24);
    const damaged = join(dir, "deadly.faiss");
    await writeFile(damaged, bytes);
    const [load, found] = await Promise.all([
      engine.load("bad", damaged, good.index).catch((e: unknown) => e),
      engine.search("good", oneQuery(0), K, {}),
    ]);
    expect(load).toMatchObject({ kind: "corrupt", message: expect.stringContaining("2 search hosts died opening") });
    expect(found.rows.length).toBe(K);
    expect((await engine.search("good", oneQuery(0), K, {})).rows).toEqual(found.rows);
    expect(engine.observe().indexes).toBe(1);
  });
});

describe("host", () => {
  it("dies by SIGKILL under load without one failed search", async () => {
    await using engine = await engineWith("a", await index("HNSW", "L2", { M: 16, efConstruction: 100 }));
    const flat = await index("FLAT", "L2");
    await engine.load("b", flat.file, flat.index);
    const pids = new Set<number>();
    let stop = false;
    let answered = 0;
    const searcher = async (i: number) => {
      while (!stop) {
        const { rows } = await engine.search(i % 2 === 0 ? "a" : "b", oneQuery(i % NQ), K, { ef: 16 });
        expect(rows[0]).toBeGreaterThanOrEqual(0);
        answered++;
      }
    };
    const searchers = Array.from({ length: 16 }, (_, i) => searcher(i));
    for (let kill = 0; kill < 3; kill++) {
      // Each host has answered some before it is killed.
      const enough = answered + 200;
      while (answered < enough) await engine.search("a", oneQuery(0), K, {});
      const pid = engine.observe().hostPid!;
      pids.add(pid);
      process.kill(pid, "SIGKILL");
      while (engine.observe().hostPid === pid || engine.observe().hostPid === null)
        await engine.search("a", oneQuery(1), K, {});
    }
    stop = true;
    await Promise.all(searchers);
    expect(pids.size).toBe(3);
    expect(engine.observe()).toMatchObject({ restarts: 3, indexes: 2, queued: 0, inFlight: 0 });
  });

  it("is replaced when its memory grows, without one failed search", async () => {
    // One MiB: 4 * 64 bytes leak a query, and V8's heap settles as well, so this comes soon.
    await using engine = await engineWith("a", await index("FLAT", "L2"), { recycleBytes: 2 ** 20 });
    const first = engine.observe().hostPid;
    while (engine.observe().recycles === 0) {
      const found = await engine.search("a", queries, K, {});
      expect(found.rows.length).toBe(NQ * K);
    }
    expect(engine.observe().hostPid).not.toBe(first);
    expect(engine.observe().restarts).toBe(0);
    expect((await engine.search("a", oneQuery(0), K, {})).rows.length).toBe(K);
  });

  it("does not keep a search beyond its deadline while the next host loads", async () => {
    await using engine = await engineWith("a", await index("FLAT", "L2"));
    // Between two hosts. Where the next one was there before we looked, again: it waits longer with each death.
    while (engine.observe().hostPid !== null) {
      const pid = engine.observe().hostPid!;
      process.kill(pid, "SIGKILL");
      while (engine.observe().hostPid === pid) await systemClock.sleep(1);
    }
    const waiting = engine.search("a", oneQuery(0), K, {});
    const impatient = engine.search("a", oneQuery(0), K, {}, systemClock.monotonic() + 1);
    await expect(impatient).rejects.toMatchObject({ kind: "deadline_exceeded" });
    expect((await waiting).rows.length).toBe(K);
  });

  it("goes with the engine: waiting searches are told, no process and no file stays", async () => {
    const engine = await engineWith("a", await index("FLAT", "L2"));
    const pid = engine.observe().hostPid!;
    const searches = Array.from({ length: 50 }, () => engine.search("a", queries, K, {}).catch((e: unknown) => e));
    await engine[Symbol.asyncDispose]();
    expect(await Promise.all(searches)).toContainEqual(expect.objectContaining({ kind: "canceled" }));
    expect(() => process.kill(pid, 0)).toThrow();
    expect((await readdir(dir)).filter((name) => name.startsWith("faiss-"))).toEqual([]);
    await expect(engine.search("a", queries, K, {})).rejects.toMatchObject({ kind: "canceled" });
  });
});
