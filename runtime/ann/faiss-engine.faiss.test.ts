/** What is special about the engine over faiss-node: files that kill its host, and hosts that die. */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createLogger } from "../logger.ts";
import { systemClock } from "../system-clock.ts";
import { type BuiltIndexFile, IndexFiles, loadInto } from "../testing/index-files.ts";
import type { SearchEngine } from "./engine.ts";
import { createFaissEngine } from "./faiss-engine.ts";

const DIMENSION = 64;
const NQ = 100;
const K = 10;

let files: IndexFiles;
beforeAll(() => {
  files = new IndexFiles({ rows: 5000, dimension: DIMENSION, nq: NQ });
});
afterAll(() => files[Symbol.dispose]());

function newEngine(overrides: { threads?: number; recycleBytes?: number } = {}): Promise<SearchEngine> {
  const logger = createLogger({ level: "silent" });
  return createFaissEngine({ clock: systemClock, logger, threads: 1, scratchDir: files.dir, ...overrides });
}

async function engineWith(key: string, loaded: BuiltIndexFile, overrides = {}): Promise<SearchEngine> {
  const engine = await newEngine(overrides);
  await loadInto(engine, key, loaded);
  return engine;
}

describe("load", () => {
  it("refuses a file of the right structure that FAISS refuses", async () => {
    const good = await files.build("IVF_SQ8", "COSINE", { nlist: 32 });
    await using engine = await engineWith("good", good);
    const bytes = await readFile(good.file);
    // The size of a code, said again right before by_residual and the lists: FAISS compares it with that of the lists.
    bytes.writeBigUInt64LE(1n, bytes.indexOf("ilar") - 9);
    const damaged = join(files.dir, "refused.faiss");
    await writeFile(damaged, bytes);
    const error = await engine.load("bad", damaged, good.index).catch((e: unknown) => e);
    expect(error).toMatchObject({ kind: "corrupt", message: expect.stringContaining("refused by FAISS") });
    expect(engine.observe().restarts).toBe(0);
  });

  it("gives up a file that kills two hosts, and keeps serving the others", async () => {
    const good = await files.build("IVF_PQ", "L2", { nlist: 32, m: 16 });
    await using engine = await engineWith("good", good);
    const bytes = await readFile(good.file);
    // M = 0 sub-quantizers: FAISS divides by it. Before it stand d, behind it nbits and the 256 x 64 centroids.
    bytes.writeBigUInt64LE(0n, bytes.indexOf("ilar") - 256 * DIMENSION * 4 - 24);
    const damaged = join(files.dir, "deadly.faiss");
    await writeFile(damaged, bytes);
    const [load, found] = await Promise.all([
      engine.load("bad", damaged, good.index).catch((e: unknown) => e),
      engine.search("good", files.query(0), K, {}),
    ]);
    expect(load).toMatchObject({ kind: "corrupt", message: expect.stringContaining("2 search hosts died opening") });
    expect(found.rows.length).toBe(K);
    expect((await engine.search("good", files.query(0), K, {})).rows).toEqual(found.rows);
    expect(engine.observe().indexes).toBe(1);
  });
});

describe("host", () => {
  it("dies by SIGKILL under load without one failed search", async () => {
    await using engine = await engineWith("a", await files.build("HNSW", "L2", { M: 16, efConstruction: 100 }));
    const flat = await files.build("FLAT", "L2");
    await engine.load("b", flat.file, flat.index);
    const pids = new Set<number>();
    let stop = false;
    let answered = 0;
    const searcher = async (i: number) => {
      while (!stop) {
        const { rows } = await engine.search(i % 2 === 0 ? "a" : "b", files.query(i % NQ), K, { ef: 16 });
        expect(rows[0]).toBeGreaterThanOrEqual(0);
        answered++;
      }
    };
    const searchers = Array.from({ length: 16 }, (_, i) => searcher(i));
    for (let kill = 0; kill < 3; kill++) {
      // Each host has answered some before it is killed.
      const enough = answered + 200;
      while (answered < enough) await engine.search("a", files.query(0), K, {});
      const pid = engine.observe().hostPid!;
      pids.add(pid);
      process.kill(pid, "SIGKILL");
      while (engine.observe().hostPid === pid || engine.observe().hostPid === null)
        await engine.search("a", files.query(1), K, {});
    }
    stop = true;
    await Promise.all(searchers);
    expect(pids.size).toBe(3);
    expect(engine.observe()).toMatchObject({ restarts: 3, indexes: 2, queued: 0, inFlight: 0 });
  });

  it("is replaced when its memory grows, without one failed search", async () => {
    // One MiB: 4 * 64 bytes leak a query, and V8's heap settles as well, so this comes soon.
    await using engine = await engineWith("a", await files.build("FLAT", "L2"), { recycleBytes: 2 ** 20 });
    const first = engine.observe().hostPid;
    while (engine.observe().recycles === 0) {
      const found = await engine.search("a", files.queries, K, {});
      expect(found.rows.length).toBe(NQ * K);
    }
    expect(engine.observe().hostPid).not.toBe(first);
    expect(engine.observe().restarts).toBe(0);
    expect((await engine.search("a", files.query(0), K, {})).rows.length).toBe(K);
  });

  it("does not keep a search beyond its deadline while the next host loads", async () => {
    await using engine = await engineWith("a", await files.build("FLAT", "L2"));
    // Between two hosts. Where the next one was there before we looked, again: it waits longer with each death.
    while (engine.observe().hostPid !== null) {
      const pid = engine.observe().hostPid!;
      process.kill(pid, "SIGKILL");
      while (engine.observe().hostPid === pid) await systemClock.sleep(1);
    }
    const waiting = engine.search("a", files.query(0), K, {});
    const impatient = engine.search("a", files.query(0), K, {}, { deadline: systemClock.monotonic() + 1 });
    await expect(impatient).rejects.toMatchObject({ kind: "deadline_exceeded" });
    expect((await waiting).rows.length).toBe(K);
  });

  it("goes with the engine: waiting searches are told, no process and no file stays", async () => {
    const engine = await engineWith("a", await files.build("FLAT", "L2"));
    const pid = engine.observe().hostPid!;
    const searches = Array.from({ length: 50 }, () =>
      engine.search("a", files.queries, K, {}).catch((e: unknown) => e),
    );
    await engine[Symbol.asyncDispose]();
    expect(await Promise.all(searches)).toContainEqual(expect.objectContaining({ kind: "canceled" }));
    expect(() => process.kill(pid, 0)).toThrow();
    expect((await readdir(files.dir)).filter((name) => name.startsWith("faiss-"))).toEqual([]);
    await expect(engine.search("a", files.queries, K, {})).rejects.toMatchObject({ kind: "canceled" });
  });
});
