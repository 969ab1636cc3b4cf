/** Builds with the real FAISS in child processes. Small data: the machine is shared. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { access, readFile, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isVdbError } from "../errors.ts";
import { clusteredVectors } from "../testing/vectors.ts";
import { buildIndex } from "./build-index.ts";
import { inspectIndexFile } from "./index-file.ts";
import { checkIndexParams } from "./index-params.ts";

const ROWS = 1000;
const DIMENSION = 16;

let dir: string;
let vectorsFile: string;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "vdb-build-index-"));
  vectorsFile = join(dir, "vectors.f32");
  writeFileSync(vectorsFile, clusteredVectors(ROWS, DIMENSION, 7));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function job(type: string, params: Record<string, unknown>, overrides: { rows?: number; outFile?: string } = {}) {
  return {
    spec: checkIndexParams(type, "L2", DIMENSION, params),
    metric: "L2" as const,
    dimension: DIMENSION,
    rows: ROWS,
    vectorsFile,
    outFile: join(dir, `${type}.faiss`),
    threads: 1,
    ...overrides,
  };
}

describe("buildIndex", () => {
  it.each([
    ["FLAT", {}, "native"],
    ["FLAT", {}, "faiss"],
    ["IVF_FLAT", { nlist: 16 }, "auto"],
    ["IVF_SQ8", { nlist: 16 }, "auto"],
    ["IVF_PQ", { nlist: 16, m: 4, nbits: 4 }, "auto"],
    ["HNSW", { M: 8, efConstruction: 60 }, "native"],
    ["HNSW", { M: 8, efConstruction: 60 }, "faiss"],
    ["AUTOINDEX", {}, "auto"],
  ] as const)("writes a whole %s file of every row %j (%s)", async (type, params, engine) => {
    const done: number[] = [];
    const { spec, ...options } = job(type, params);
    const built = await buildIndex({ spec, ...options, engine, onProgress: (rowsDone) => done.push(rowsDone) });
    const info = await inspectIndexFile(options.outFile);
    expect(info).toMatchObject({ type: spec.type, metric: "L2", rows: ROWS, dimension: DIMENSION, bytes: built.bytes });
    expect(done.at(-1)).toBe(ROWS);
  });

  it("carries efConstruction and the search default into the file", async () => {
    const plain = job("HNSW", { M: 8, efConstruction: 123 });
    await buildIndex(plain);
    expect(await inspectIndexFile(plain.outFile)).toMatchObject({
      efConstruction: { value: 123 },
      effort: { value: 16 },
    });
    const auto = job("AUTOINDEX", {});
    await buildIndex(auto);
    expect(await inspectIndexFile(auto.outFile)).toMatchObject({
      efConstruction: { value: 240 },
      effort: { value: 64 },
    });
    const ivf = job("IVF_FLAT", {});
    await buildIndex(ivf);
    expect((await inspectIndexFile(ivf.outFile)).effort).toMatchObject({ bytes: 8, value: 8 });
  });

  it("lowers nlist and nbits to what few rows can train", async () => {
    const few = join(dir, "few.f32");
    await writeFile(few, clusteredVectors(100, DIMENSION, 3));
    const built = await buildIndex({ ...job("IVF_PQ", { nlist: 1024, m: 4 }, { rows: 100 }), vectorsFile: few });
    expect(built.bytes).toBeGreaterThan(0);
    const bytes = await readFile(join(dir, "IVF_PQ.faiss"));
    // nlist sits right before nprobe; 100 rows train 2 lists.
    const { effort } = await inspectIndexFile(join(dir, "IVF_PQ.faiss"));
    expect(Number(bytes.readBigUInt64LE(effort!.offset - 8))).toBe(2);
  });

  it("refuses a vectors file of another size", async () => {
    const error = await buildIndex(job("FLAT", {}, { rows: ROWS + 1 })).catch((e: unknown) => e);
    expect(isVdbError(error, "invalid_parameter")).toBe(true);
    expect(String(error)).toContain("1001 x 16");
  });

  it("says what the native code said when the build dies of it, and leaves no file", async () => {
    const outFile = join(dir, "missing", "x.faiss");
    const unwritten = await buildIndex({ ...job("FLAT", {}, { outFile }), engine: "native" }).catch((e: unknown) => e);
    expect(isVdbError(unwritten, "internal")).toBe(true);
    expect(String(unwritten)).toContain(`could not open or write ${outFile}: No such file`);
    const error = await buildIndex({ ...job("FLAT", {}, { outFile }), engine: "faiss" }).catch((e: unknown) => e);
    expect(isVdbError(error, "internal")).toBe(true);
    // FAISS throws an exception that faiss-node does not catch: the process aborts and its stderr tells.
    expect(String(error)).toMatch(/SIGABRT.*could not open/s);
  });

  it("stops in the middle when the signal aborts, and leaves no file", async () => {
    const [rows, dimension] = [12_000, 128];
    const large = join(dir, "large.f32");
    await writeFile(large, clusteredVectors(rows, dimension, 5));
    const stop = new AbortController();
    const outFile = join(dir, "stopped.faiss");
    const done: number[] = [];
    const onProgress = (rowsDone: number) => {
      done.push(rowsDone);
      stop.abort();
    };
    // Thorough, so that what is left at the first sign of progress takes far longer than the stop.
    const spec = checkIndexParams("HNSW", "L2", dimension, { M: 8, efConstruction: 200 });
    const error = await buildIndex({
      ...{ spec, metric: "L2", dimension, rows, vectorsFile: large, outFile, threads: 1 },
      signal: stop.signal,
      onProgress,
    }).catch((e: unknown) => e);
    expect(isVdbError(error, "canceled")).toBe(true);
    expect(done[0]).toBeLessThan(rows);
    await expect(access(outFile)).rejects.toThrow();
  });
});

describe("inspectIndexFile", () => {
  it("refuses a file cut at any place, extended, or with another length written in it", async () => {
    const built = job("IVF_FLAT", { nlist: 16 });
    const { bytes } = await buildIndex(built);
    const whole = await readFile(built.outFile);
    const damaged = join(dir, "damaged.faiss");
    for (const size of [0, 3, 40, 500, bytes - 1]) {
      await writeFile(damaged, whole);
      await truncate(damaged, size);
      await expect(inspectIndexFile(damaged)).rejects.toMatchObject({ kind: "corrupt" });
    }
    await writeFile(damaged, Buffer.concat([whole, Buffer.from([0])]));
    await expect(inspectIndexFile(damaged)).rejects.toThrow("1 bytes too many");
    // nlist as 2^60: FAISS would try to allocate it and abort.
    const absurd = Buffer.from(whole);
    absurd.writeBigUInt64LE(1n << 60n, 37);
    await writeFile(damaged, absurd);
    await expect(inspectIndexFile(damaged)).rejects.toMatchObject({ kind: "corrupt" });
    await expect(inspectIndexFile(join(dir, "absent.faiss"))).rejects.toMatchObject({ kind: "corrupt" });
  });
});
