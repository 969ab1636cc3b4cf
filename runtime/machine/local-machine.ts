/**
 * The machine that this process runs on.
 *
 * Owns, below the node's data folder: query/objects (the cache), query/scratch (the engine), data/ (files of running
 * jobs; what an earlier life left there is removed at the first job).
 */
import { mkdir, open, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { buildIndex } from "../ann/build-index.ts";
import { createFaissEngine } from "../ann/faiss-engine.ts";
import { createDiskCache } from "../blob/disk-cache.ts";
import type { BlobPort } from "../blob/port.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/schema.ts";
import { VdbError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { Random } from "../random.ts";
import { readSegmentFile } from "../segment/arrow-file.ts";
import type { FloatVectorColumn } from "../segment/column.ts";
import type { IndexJob, Machine } from "./port.ts";

export function createLocalMachine(options: {
  config: Config;
  blobs: BlobPort;
  clock: Clock;
  random: Random;
  logger: Logger;
}): Machine {
  const { config, blobs, clock, random, logger } = options;
  const queryFolder = join(config.node.dataDir, "query");
  const jobsFolder = join(config.node.dataDir, "data");
  let cleaned: Promise<void> | undefined;
  return {
    openObjectCache: () =>
      createDiskCache({ dir: join(queryFolder, "objects"), maxBytes: config.query.cacheBytes, blob: blobs }),
    async openEngine() {
      const scratchDir = join(queryFolder, "scratch");
      await mkdir(scratchDir, { recursive: true });
      return createFaissEngine({
        clock,
        logger,
        threads: config.query.engineThreads,
        scratchDir,
        recycleBytes: config.query.engineGrowthBytes,
      });
    },
    async buildIndex(job, signal) {
      cleaned ??= rm(jobsFolder, { recursive: true, force: true });
      await cleaned;
      const folder = join(jobsFolder, random.ulid());
      await mkdir(folder, { recursive: true });
      try {
        const segmentFile = join(folder, "segment.arrow");
        const vectorsFile = join(folder, "vectors.f32");
        const outFile = join(folder, "index.faiss");
        await blobs.getFile(job.segment, segmentFile, signal);
        await writeVectors(segmentFile, vectorsFile, job);
        const { seconds } = await buildIndex({
          spec: job.spec,
          metric: job.metric,
          dimension: job.dimension,
          rows: job.rowCount,
          vectorsFile,
          outFile,
          threads: config.data.buildThreads,
          signal,
        });
        return { object: await blobs.putFile(job.objectName, outFile), seconds };
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    },
  };
}

/** The vectors of a segment file, row-major, without a header. */
async function writeVectors(segmentFile: string, vectorsFile: string, job: IndexJob): Promise<void> {
  const file = await open(vectorsFile, "w");
  try {
    let rows = 0;
    for (const { batch } of readSegmentFile(await readFile(segmentFile))) {
      const column = batch.columns[job.fieldId] as FloatVectorColumn | undefined;
      if (column === undefined)
        throw new VdbError("corrupt", `${job.segment.name} has no vectors of field ${job.fieldId}`);
      const { values } = column;
      await file.write(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      rows += batch.rowCount;
    }
    if (rows !== job.rowCount) {
      throw new VdbError("corrupt", `${job.segment.name} has ${rows} rows, its manifest says ${job.rowCount}`);
    }
  } finally {
    await file.close();
  }
}
