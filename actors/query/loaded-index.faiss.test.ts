/** An index that moves between memory and its file while it is searched. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildIndex } from "../../runtime/ann/build-index.ts";
import { createMappedEngine } from "../../runtime/ann/create-engine.ts";
import type { IndexToLoad } from "../../runtime/ann/engine.ts";
import { loadNativeAddon } from "../../runtime/ann/native-addon.ts";
import { createNativeEngine } from "../../runtime/ann/native-engine.ts";
import { systemClock } from "../../runtime/system-clock.ts";
import { clusteredVectors } from "../../runtime/testing/vectors.ts";
import { LoadedIndex } from "./loaded-index.ts";

const [ROWS, DIMENSION, K] = [2000, 32, 5];
const addon = loadNativeAddon();
const toLoad: IndexToLoad = {
  ...{ type: "HNSW", params: { M: 8, efConstruction: 40 }, metric: "L2", dimension: DIMENSION, rows: ROWS },
};

describe.skipIf(addon instanceof Error)("a loaded index", () => {
  const vectors = clusteredVectors(ROWS, DIMENSION, 1);
  let folder: string;
  let path: string;
  let bytes: number;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "vdb-loaded-index-"));
    path = join(folder, "index");
    const vectorsFile = join(folder, "vectors");
    await writeFile(vectorsFile, vectors);
    const { type, params, metric, dimension, rows } = toLoad;
    const spec = { type, params };
    ({ bytes } = await buildIndex({ spec, metric, dimension, rows, vectorsFile, outFile: path, threads: 1 }));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  async function open() {
    if (addon instanceof Error) throw addon;
    const engine = createNativeEngine({ addon, clock: systemClock, threads: 1 });
    const mappedEngine = createMappedEngine({ clock: systemClock, threads: 1 })!;
    let pins = 1;
    const file = { path, read: () => Promise.reject(new Error("not asked for")), [Symbol.dispose]: () => void pins-- };
    const facts = { indexId: 1, key: "one", toLoad, bytes, policy: "surplus" } as const;
    const index = await LoadedIndex.open({ engine, mappedEngine }, facts, file, true);
    const openIn = () => [engine.observe().indexes, mappedEngine.observe().indexes];
    const close = () => Promise.all([engine, mappedEngine].map((one) => one[Symbol.asyncDispose]()));
    return { index, openIn, pins: () => pins, [Symbol.asyncDispose]: async () => void (await close()) };
  }

  test("gives every search its answer while it moves to memory and back", async () => {
    await using opened = await open();
    const { index, openIn } = opened;
    const query = vectors.slice(0, DIMENSION);
    const expected = await index.search(query, K, { ef: 64 });
    let isOver = false;
    let searches = 0;
    const searcher = async () => {
      for (; !isOver; searches++) expect((await index.search(query, K, { ef: 64 })).rows).toEqual(expected.rows);
    };
    const searching = Promise.all([searcher(), searcher(), searcher()]);
    const whenMapped = index.memoryBytes;
    for (let move = 0; move < 20; move++) {
      await index.move(move % 2 === 1);
      expect(openIn()).toEqual(move % 2 === 1 ? [0, 1] : [1, 0]);
      if (move % 2 === 1) expect(index.memoryBytes).toBe(whenMapped);
      else expect(index.memoryBytes).toBeGreaterThan(4 * ROWS * DIMENSION);
    }
    isOver = true;
    await searching;
    expect(searches).toBeGreaterThan(0);
  });

  test("that is closed while it moves leaves nothing open", async () => {
    await using opened = await open();
    const moving = opened.index.move(false);
    opened.index.close();
    await moving;
    await opened.index.move(false);
    expect([opened.openIn(), opened.pins()]).toEqual([[0, 0], 0]);
  });
});
