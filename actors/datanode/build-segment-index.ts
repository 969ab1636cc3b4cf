/** One index job: what is asked for, checked, and the result as the manifest takes it. */
import type { ActorContext } from "../../runtime/actor.ts";
import { checkIndexParams } from "../../runtime/ann/index-params.ts";
import { VdbError } from "../../runtime/errors.ts";
import type { SegmentIndexDoc } from "../../runtime/protocol/catalog.ts";
import type { BuildIndex } from "../../runtime/protocol/data.ts";

export async function buildSegmentIndex(
  ctx: ActorContext,
  job: BuildIndex,
  signal: AbortSignal,
  onProgress: (rowsDone: number) => void,
): Promise<{ index: SegmentIndexDoc; seconds: number }> {
  const { fieldId, rowCount, dimension, indexId, metric, vectorType = "FloatVector", isNullable = false } = job;
  const spec = checkIndexParams(job.type, metric, dimension, job.params, vectorType);
  if (vectorType === "SparseFloatVector") throw new VdbError("index_unsupported", "sparse vectors have no index file");
  // The epoch says which coordinator may name it; the id keeps two attempts apart.
  const objectName = `index/${job.vchannel}/${job.epoch}/${job.segmentId}-${fieldId}-${indexId}-${ctx.random.ulid()}.faiss`;
  const { object, seconds, rows } = await ctx.machine.buildIndex(
    { segment: job.object, fieldId, rowCount, dimension, vectorType, isNullable, spec, metric, objectName },
    signal,
    onProgress,
  );
  const index: SegmentIndexDoc = { indexId, object, type: spec.type, metric, params: { ...spec.params } };
  return { index: rows === rowCount ? index : { ...index, rows }, seconds };
}
