/** Files mapped for the event loop, and rows that a thread reads before it does. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { systemClock } from "../system-clock.ts";
import { IndexFiles, loadInto } from "../testing/index-files.ts";
import { createMappedEngine } from "./create-engine.ts";
import type { ExactScan } from "./engine.ts";
import { loadNativeAddon, type NativeAddon } from "./native-addon.ts";
import { createNativeEngine } from "./native-engine.ts";

const DIMENSION = 1500;
const ROWS = 20;

const folder = mkdtempSync(join(tmpdir(), "vdb-mapped-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Where the system tells. */
const hasMaps = existsSync("/proc/self/maps");

function mappingsOf(path: string): number {
  return readFileSync("/proc/self/maps", "utf8").split(path).length - 1;
}

test("faiss-node searches no mapped files", () => {
  expect(createMappedEngine({ engine: "faiss", clock: systemClock, threads: 1 })).toBeUndefined();
});

describe.skipIf(loadNativeAddon() instanceof Error)("the engine of mapped files", () => {
  const open = () => createMappedEngine({ clock: systemClock, threads: 1 })!;
  const written = Float32Array.from({ length: ROWS * DIMENSION }, (_, i) => i);
  /** Finds row 103. */
  const scanOf = (vectors: Float32Array): ExactScan => ({
    ...{ metric: "L2", dimension: DIMENSION, k: 1, queries: written.slice(3 * DIMENSION, 4 * DIMENSION) },
    blocks: [{ vectors, allow: null, firstRow: 100 }],
  });

  test("maps a file whose bytes stay when its name goes", async () => {
    await using engine = open();
    const path = join(folder, "gone");
    writeFileSync(path, written);
    using mapped = engine.mapFile(path);
    rmSync(path);
    expect(new Float32Array(mapped.bytes)).toEqual(written);
  });

  test("maps it no more once it is disposed of, and refuses to read it", async () => {
    await using engine = open();
    const path = join(folder, "disposed");
    writeFileSync(path, written);
    const [mapped, other] = [engine.mapFile(path), engine.mapFile(path)];
    const vectors = new Float32Array(mapped.bytes);
    if (hasMaps) expect(mappingsOf(path)).toBe(2);
    mapped[Symbol.dispose]();
    if (hasMaps) expect(mappingsOf(path)).toBe(1);
    expect(vectors).toHaveLength(0);
    await expect(engine.scanExact(scanOf(vectors))).rejects.toThrow("mapped no more");
    const touched = engine.touch([{ vectors, rowBytes: 4 * DIMENSION, rows: Uint32Array.of(0) }]);
    await expect(touched).rejects.toThrow("mapped no more");
    expect(new Float32Array(other.bytes)).toEqual(written);
    mapped[Symbol.dispose]();
    other[Symbol.dispose]();
    if (hasMaps) expect(mappingsOf(path)).toBe(0);
  });

  test("keeps it mapped for the scans of an engine of memory that are under way as well", async () => {
    await using engine = open();
    await using inMemory = createNativeEngine({
      addon: loadNativeAddon() as NativeAddon,
      clock: systemClock,
      threads: 1,
    });
    const path = join(folder, "other-engine");
    writeFileSync(path, written);
    const mapped = engine.mapFile(path);
    const vectors = new Float32Array(mapped.bytes);
    const scans = Array.from({ length: 50 }, () => inMemory.scanExact(scanOf(vectors)));
    mapped[Symbol.dispose]();
    if (hasMaps) expect(mappingsOf(path)).toBe(1);
    for (const { rows } of await Promise.all(scans)) expect(Array.from(rows)).toEqual([103]);
    if (hasMaps) expect(mappingsOf(path)).toBe(0);
  });

  test("keeps it mapped for the searches that are under way, and no longer", async () => {
    await using engine = open();
    const path = join(folder, "under-way");
    writeFileSync(path, written);
    const mapped = engine.mapFile(path);
    const vectors = new Float32Array(mapped.bytes);
    const scans = Array.from({ length: 50 }, () => engine.scanExact(scanOf(vectors)));
    const touched = engine.touch([{ vectors, rowBytes: 4 * DIMENSION, rows: Uint32Array.of(ROWS - 1) }]);
    mapped[Symbol.dispose]();
    if (hasMaps) expect(mappingsOf(path)).toBe(1);
    for (const { rows } of await Promise.all(scans)) expect(Array.from(rows)).toEqual([103]);
    await touched;
    if (hasMaps) expect(mappingsOf(path)).toBe(0);
  });

  test("says of a file that is not there, or is empty, that it cannot be mapped", async () => {
    await using engine = open();
    writeFileSync(join(folder, "empty"), "");
    for (const name of ["nothing", "empty"]) {
      expect(() => engine.mapFile(join(folder, name))).toThrow(expect.objectContaining({ kind: "unavailable" }));
    }
  });

  test("reads rows of several files on its threads", async () => {
    await using engine = open();
    const path = join(folder, "rows");
    writeFileSync(path, written);
    const part = (rows: number[]) => {
      const vectors = new Float32Array(engine.mapFile(path).bytes);
      return { vectors, rowBytes: 4 * DIMENSION, rows: Uint32Array.from(rows) };
    };
    await engine.touch([part([0, ROWS - 1]), part([7]), part([])]);
    await engine.touch([]);
    await expect(engine.touch([part([ROWS])])).rejects.toThrow("no such row");
    await expect(engine.touch([part([1])], systemClock.monotonic() - 1)).rejects.toMatchObject({
      kind: "deadline_exceeded",
    });
  });

  test.each([
    ["HNSW", { M: 8, efConstruction: 40 }],
    ["IVF_FLAT", { nlist: 16 }],
    ["IVF_SQ8", { nlist: 16 }],
  ] as const)("finds in an index of %s whose pages are on the disk what it finds in memory", async (type, params) => {
    using files = new IndexFiles({ rows: 3000, dimension: 128, nq: 20 });
    const built = await files.build(type, "L2", params);
    // Where the system does as it is told, the searches after the first ask for pages beforehand.
    spawnSync("sync", [built.file]);
    spawnSync("dd", [`of=${built.file}`, "oflag=nocache", "conv=notrunc", "count=0"]);
    const addon = loadNativeAddon() as NativeAddon;
    await using mapped = createNativeEngine({ addon, clock: systemClock, threads: 1, mapped: true });
    await using inMemory = createNativeEngine({ addon, clock: systemClock, threads: 1 });
    for (const engine of [mapped, inMemory]) await loadInto(engine, "index", built);
    for (let query = 0; query < files.nq; query++) {
      const found = await mapped.search("index", files.query(query), 5, { ef: 32, nprobe: 4 });
      expect(found).toEqual(await inMemory.search("index", files.query(query), 5, { ef: 32, nprobe: 4 }));
    }
  });

  test("scans the vectors of a mapped file", async () => {
    await using engine = open();
    const path = join(folder, "scanned");
    writeFileSync(path, written);
    using mapped = engine.mapFile(path);
    const { rows } = await engine.scanExact(scanOf(new Float32Array(mapped.bytes)));
    expect(Array.from(rows)).toEqual([103]);
  });
});
