/**
 * The machine of a simulated process: a cache of objects, and an engine that searches exactly. An index file is the
 * vectors themselves; building it takes virtual time, and may fail.
 */
import type { EngineObserved, SearchEngine } from "../ann/engine.ts";
import { createTurnScanner } from "../ann/turn-scanner.ts";
import type { DiskCache, PinnedFile } from "../blob/disk-cache.ts";
import type { BlobPort, ObjectRef } from "../blob/port.ts";
import type { Clock } from "../clock.ts";
import { VdbError } from "../errors.ts";
import type { IndexJob, Machine } from "../machine/port.ts";
import type { Metric } from "../schema.ts";
import { readSegmentFile } from "../segment/arrow-file.ts";
import { type Bitset, bitsetRows } from "../segment/bitset.ts";
import type { Column, FloatVectorColumn } from "../segment/column.ts";
import { takeColumn } from "../segment/gather.ts";
import type { Process } from "./process.ts";
import type { Files } from "./sim-blob.ts";

/** What native work takes, milliseconds. */
const BUILD_MS = [20, 3_000] as const;
const SEARCH_MS = 0.2;
const READ_MS = 0.1;
/** Of the builds: a child process that died. */
const BUILD_FAILURE = 0.05;

export function createSimMachine(process: Process, clock: Clock, blobs: BlobPort, files: Files): Machine {
  return {
    openObjectCache: () => Promise.resolve(openCache(clock, blobs, files)),
    openEngine: () => Promise.resolve(openEngine(clock, files)),
    async buildIndex(job, signal) {
      const vectors = await readVectors(blobs, job);
      const ms = process.seeded.logUniform(...BUILD_MS);
      await clock.sleep(ms, signal);
      if (process.seeded.chance(BUILD_FAILURE)) throw new VdbError("internal", "the build's process died");
      const object = await blobs.put(job.objectName, [new Uint8Array(vectors.buffer, 0, vectors.byteLength)]);
      return { object, seconds: ms / 1000, rows: vectors.length / job.dimension };
    },
    importFile: () => Promise.reject(new VdbError("unimplemented", "simulated machines have no files to import")),
  };
}

/** The vectors that rows of a segment have, row-major. */
async function readVectors(blobs: BlobPort, job: IndexJob): Promise<Float32Array> {
  const vectors = new Float32Array(job.rowCount * job.dimension);
  let rows = 0;
  let present = 0;
  for (const { batch } of readSegmentFile(await blobs.get(job.segment))) {
    const column = batch.columns[job.fieldId] as FloatVectorColumn | undefined;
    rows += batch.rowCount;
    if (column === undefined && job.isNullable !== true)
      throw new VdbError("corrupt", `${job.segment.name} has no vectors of field ${job.fieldId}`);
    if (column === undefined || rows > job.rowCount) continue;
    const { values } = column.valid === undefined ? column : (takePresent(column, column.valid) as FloatVectorColumn);
    vectors.set(values, present * job.dimension);
    present += values.length / job.dimension;
  }
  if (rows === job.rowCount) return vectors.subarray(0, present * job.dimension);
  throw new VdbError("corrupt", `${job.segment.name} has ${rows} rows, its manifest says ${job.rowCount}`);
}

function takePresent(column: FloatVectorColumn, valid: Bitset): Column {
  return takeColumn(column, bitsetRows(valid));
}

/** Files are named by digest, so what an earlier life of the node left is found again. */
function openCache(clock: Clock, blobs: BlobPort, files: Files): DiskCache {
  const pins = new Map<string, number>();
  return {
    async acquire(ref: ObjectRef, signal?: AbortSignal): Promise<PinnedFile> {
      const path = `cache/${ref.digest}`;
      if (!files.has(path)) files.set(path, await readWhole(blobs, ref, signal));
      pins.set(path, (pins.get(path) ?? 0) + 1);
      return {
        path,
        async read() {
          await clock.sleep(READ_MS);
          return files.get(path)!.slice();
        },
        [Symbol.dispose]: () => {
          pins.set(path, (pins.get(path) ?? 1) - 1);
        },
      };
    },
    adopt: () => false,
    usage: () => ({ files: files.size, bytes: 0, pinnedBytes: 0 }),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

async function readWhole(blobs: BlobPort, ref: ObjectRef, signal: AbortSignal | undefined): Promise<Uint8Array> {
  const bytes = await blobs.get(ref);
  if (signal?.aborted) throw new VdbError("canceled", `object ${ref.name} is not needed any more`);
  return bytes;
}

interface OpenIndex {
  metric: Metric;
  dimension: number;
  vectors: Float32Array;
}

function openEngine(clock: Clock, files: Files): SearchEngine {
  const indexes = new Map<string, OpenIndex>();
  const scanner = createTurnScanner(clock);
  let searches = 0;
  return {
    ...scanner,
    async load(indexKey, file, { metric, dimension, rows }) {
      await clock.sleep(READ_MS);
      const bytes = files.get(file)?.slice() ?? new Uint8Array(0);
      if (bytes.length !== rows * dimension * 4)
        throw new VdbError("corrupt", `index file ${file} is not of ${rows} rows`);
      indexes.set(indexKey, { metric, dimension, vectors: new Float32Array(bytes.buffer) });
      return { memoryBytes: bytes.length };
    },
    unload(indexKey) {
      indexes.delete(indexKey);
    },
    hasFilter: false,
    async search(indexKey, queries, k, _params, { deadline = Number.POSITIVE_INFINITY } = {}) {
      await clock.sleep(SEARCH_MS);
      const index = indexes.get(indexKey);
      if (index === undefined) throw new VdbError("segment_not_loaded", `index ${indexKey} is not loaded`);
      if (clock.monotonic() >= deadline)
        throw new VdbError("deadline_exceeded", "the search waited until its deadline");
      searches++;
      return scanner.scanExact({
        ...index,
        queries,
        k,
        blocks: [{ vectors: index.vectors, allow: null, firstRow: 0 }],
      });
    },
    observe: (): EngineObserved => ({
      indexes: indexes.size,
      memoryBytes: 0,
      queued: 0,
      inFlight: 0,
      searches,
      hostPid: null,
      hostGrowthBytes: 0,
      restarts: 0,
      recycles: 0,
    }),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}
