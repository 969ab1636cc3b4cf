/** One index job: fetch the segment, lay its vectors out as raw floats, build in a child process, store the file. */
import { mkdir, open, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { ActorContext } from "../../runtime/actor.ts";
import { buildIndex } from "../../runtime/ann/build-index.ts";
import { checkIndexParams } from "../../runtime/ann/index-params.ts";
import { VdbError } from "../../runtime/errors.ts";
import type { SegmentIndexDoc } from "../../runtime/protocol/catalog.ts";
import type { BuildIndex } from "../../runtime/protocol/data.ts";
import { readSegmentFile } from "../../runtime/segment/arrow-file.ts";
import type { FloatVectorColumn } from "../../runtime/segment/column.ts";

export async function buildSegmentIndex(
  ctx: ActorContext,
  job: BuildIndex,
  signal: AbortSignal,
): Promise<{ index: SegmentIndexDoc; seconds: number }> {
  const folder = join(ctx.config.node.dataDir, "data", ctx.random.ulid());
  await mkdir(folder, { recursive: true });
  try {
    const spec = checkIndexParams(job.type, job.metric, job.dimension, job.params);
    const segmentFile = join(folder, "segment.arrow");
    const vectorsFile = join(folder, "vectors.f32");
    const outFile = join(folder, "index.faiss");
    await ctx.blobs.getFile(job.object, segmentFile, signal);
    await writeVectors(segmentFile, vectorsFile, job);
    const { seconds } = await buildIndex({
      spec,
      metric: job.metric,
      dimension: job.dimension,
      rows: job.rowCount,
      vectorsFile,
      outFile,
      threads: ctx.config.data.buildThreads,
      signal,
    });
    // The epoch says which coordinator may name it; the id keeps two attempts apart.
    const name = `index/${job.vchannel}/${job.epoch}/${job.segmentId}-${job.fieldId}-${job.indexId}-${ctx.random.ulid()}.faiss`;
    const object = await ctx.blobs.putFile(name, outFile);
    return {
      index: { indexId: job.indexId, object, type: spec.type, metric: job.metric, params: { ...spec.params } },
      seconds,
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The vectors of a segment file, row-major, without a header. */
async function writeVectors(segmentFile: string, vectorsFile: string, job: BuildIndex): Promise<void> {
  const file = await open(vectorsFile, "w");
  try {
    let rows = 0;
    for (const { batch } of readSegmentFile(await readFile(segmentFile))) {
      const column = batch.columns[job.fieldId] as FloatVectorColumn | undefined;
      if (column === undefined)
        throw new VdbError("corrupt", `segment ${job.segmentId} has no vectors of field ${job.fieldId}`);
      const { values } = column;
      await file.write(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      rows += batch.rowCount;
    }
    if (rows !== job.rowCount) {
      throw new VdbError("corrupt", `segment ${job.segmentId} has ${rows} rows, its manifest says ${job.rowCount}`);
    }
  } finally {
    await file.close();
  }
}
