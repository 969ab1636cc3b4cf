/** Files mapped for the event loop, and rows that a thread reads before it does. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { systemClock } from "../system-clock.ts";
import { createMappedEngine } from "./create-engine.ts";
import { loadNativeAddon } from "./native-addon.ts";

const DIMENSION = 1500;
const ROWS = 20;

const folder = mkdtempSync(join(tmpdir(), "vdb-mapped-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("faiss-node searches no mapped files", () => {
  expect(createMappedEngine({ engine: "faiss", clock: systemClock, threads: 1 })).toBeUndefined();
});

describe.skipIf(loadNativeAddon() instanceof Error)("the engine of mapped files", () => {
  const open = () => createMappedEngine({ clock: systemClock, threads: 1 })!;
  const written = Float32Array.from({ length: ROWS * DIMENSION }, (_, i) => i);

  test("maps a file whose bytes stay when its name goes", async () => {
    await using engine = open();
    const path = join(folder, "gone");
    writeFileSync(path, written);
    const mapped = new Float32Array(engine.mapFile(path));
    rmSync(path);
    expect(mapped).toEqual(written);
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
      const vectors = new Float32Array(engine.mapFile(path));
      return { vectors, rowBytes: 4 * DIMENSION, rows: Uint32Array.from(rows) };
    };
    await engine.touch([part([0, ROWS - 1]), part([7]), part([])]);
    await engine.touch([]);
    await expect(engine.touch([part([ROWS])])).rejects.toThrow("no such row");
    await expect(engine.touch([part([1])], systemClock.monotonic() - 1)).rejects.toMatchObject({
      kind: "deadline_exceeded",
    });
  });

  test("scans the vectors of a mapped file", async () => {
    await using engine = open();
    const path = join(folder, "scanned");
    writeFileSync(path, written);
    const vectors = new Float32Array(engine.mapFile(path));
    const { rows } = await engine.scanExact({
      ...{ metric: "L2", dimension: DIMENSION, k: 1, queries: vectors.slice(3 * DIMENSION, 4 * DIMENSION) },
      blocks: [{ vectors, allow: null, firstRow: 100 }],
    });
    expect(Array.from(rows)).toEqual([103]);
  });
});
