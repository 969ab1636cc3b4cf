/**
 * The machine that this process runs on.
 *
 * Owns, below the node's data folder: query/objects (the cache), query/scratch (the engine), data/ (files of running
 * jobs; what an earlier life left there is removed at the first job).
 */
import { mkdir, rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { buildIndex } from "../ann/build-index.ts";
import { createMappedEngine, createSearchEngine } from "../ann/create-engine.ts";
import { emptyIndexFile } from "../ann/empty-index-file.ts";
import { rowBytes } from "../ann/packed-vectors.ts";
import { createDiskCache, type DiskCache } from "../blob/disk-cache.ts";
import type { BlobPort, ObjectRef } from "../blob/port.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/schema.ts";
import { errorMessage, VdbError } from "../errors.ts";
import { importFile } from "../import/import-file.ts";
import type { Logger } from "../logger.ts";
import type { Random } from "../random.ts";
import { findVectors } from "../segment/find-vectors.ts";
import { presentVectors } from "../segment/present-vectors.ts";
import { loadJieba } from "../text/jieba.ts";
import { type Machine, PRESENT_ROWS_MIN } from "./port.ts";

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
  let objectCache: DiskCache | undefined;
  let cleaned: Promise<void> | undefined;
  let dictionary: Promise<void> | undefined;
  /** A name for a folder of a job. */
  const newFolder = async () => {
    cleaned ??= rm(jobsFolder, { recursive: true, force: true });
    await cleaned;
    return join(jobsFolder, random.ulid());
  };
  return {
    async openObjectCache() {
      objectCache = await createDiskCache({
        ...{ dir: join(queryFolder, "objects"), maxBytes: config.query.cacheBytes, blob: blobs },
      });
      return objectCache;
    },
    async openEngine() {
      const scratchDir = join(queryFolder, "scratch");
      await mkdir(scratchDir, { recursive: true });
      return createSearchEngine({
        clock,
        logger,
        engine: config.node.engine,
        threads: config.node.engineThreads || availableParallelism(),
        scratchDir,
        recycleBytes: config.query.engineGrowthBytes,
      });
    },
    openMappedEngine() {
      const { engine, engineThreads } = config.node;
      return createMappedEngine({ clock, engine, threads: engineThreads || availableParallelism() });
    },
    loadDictionary() {
      dictionary ??= loadJieba().catch((error: unknown) => {
        logger.warn({ error: errorMessage(error) }, "the dictionary of Chinese words is loaded with the first text");
      });
      return dictionary;
    },
    async buildIndex(job, signal, onProgress) {
      const folder = await newFolder();
      await mkdir(folder, { recursive: true });
      try {
        const segmentFile = join(folder, "segment.arrow");
        const outFile = join(folder, "index.faiss");
        await blobs.getFile(job.segment, segmentFile, signal);
        const found = await findVectors(segmentFile, job.fieldId);
        const isNullable = job.isNullable === true;
        if (found.rows !== job.rowCount || (found.parts.length === 0 && !isNullable)) {
          const vectors = found.parts.length === 0 ? 0 : found.rows;
          throw new VdbError(
            "corrupt",
            `${job.segment.name} has ${vectors} vectors, its manifest says ${job.rowCount}`,
          );
        }
        const width = rowBytes(job.vectorType ?? "FloatVector", job.dimension);
        const present = await presentVectors(segmentFile, found, width, join(folder, "vectors"));
        if (present.rows < job.rowCount && present.rows < PRESENT_ROWS_MIN) {
          return { object: await blobs.put(job.objectName, [emptyIndexFile(job)]), seconds: 0, rows: 0 };
        }
        const { seconds } = await buildIndex({
          spec: job.spec,
          metric: job.metric,
          ...(job.vectorType !== undefined && { vectorType: job.vectorType }),
          dimension: job.dimension,
          rows: present.rows,
          vectorsFile: present.path,
          vectorParts: present.parts,
          outFile,
          threads: config.data.buildThreads,
          engine: config.node.engine,
          signal,
          ...(onProgress !== undefined && { onProgress }),
        });
        return { object: await blobs.putFile(job.objectName, outFile), seconds, rows: present.rows };
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    },
    async importFile(job, host, signal, onProgress) {
      const tools = {
        ...{ blobs, importDir: config.data.importDir, folder: await newFolder() },
        // A query actor of this node is likely to load it next.
        keep: (object: ObjectRef, path: string) => void objectCache?.adopt(object, path),
      };
      return await importFile(tools, job, host, signal, onProgress);
    },
  };
}
