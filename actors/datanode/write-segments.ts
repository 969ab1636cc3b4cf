/**
 * Writes rows of one partition, in the order of time, as segments: their objects, and what the manifest says about
 * them.
 */
import type { SegmentDoc } from "../../runtime/protocol/catalog.ts";
import type { CompactSegments } from "../../runtime/protocol/data.ts";
import { BoundsCollector } from "../../runtime/scalar-index/segment-bounds.ts";
import type { CollectionSchema } from "../../runtime/schema.ts";
import { type StoredChunk, writeSegmentFile } from "../../runtime/segment/arrow-file.ts";
import { VectorFields } from "../../runtime/segment/present-rows.ts";
import type { JobTools } from "./job-inputs.ts";
import { fullChunks, type Piece } from "./merge-inputs.ts";

/** Of about targetBytes each, cut between chunks; none when there are no rows. */
export async function writeSegments(
  tools: JobTools,
  schema: CollectionSchema,
  job: Pick<CompactSegments, "vchannel" | "epoch" | "attempt" | "segments" | "deltaSeq" | "targetBytes">,
  pieces: Iterable<Piece> | AsyncIterable<Piece>,
): Promise<SegmentDoc[]> {
  const { clock, blobs, random } = tools;
  const fieldIds = schema.fields.map(({ fieldId }) => fieldId);
  const chunks = fullChunks(tools, pieces, fieldIds);
  const stored = vectorFieldsOfAny(job.segments);
  const segments: SegmentDoc[] = [];
  for (let next = await chunks.next(); !next.done; next = await chunks.next()) {
    const segmentId = random.ulid();
    const written = { rowCount: 0, minTs: next.value.timestamps[0]!, maxTs: 0n };
    let bytes = 0;
    const bounds = new BoundsCollector(schema.fields);
    const vectorFields = new VectorFields(schema.fields);
    const first = next.value;
    const file = async function* () {
      for (let chunk: StoredChunk | undefined = first; chunk !== undefined; ) {
        written.rowCount += chunk.batch.rowCount;
        written.maxTs = chunk.timestamps.at(-1)!;
        bounds.add(chunk.batch);
        vectorFields.add(chunk.batch);
        yield chunk;
        // The next one is not asked for when it belongs to the next segment.
        if (bytes >= job.targetBytes) return;
        const more: IteratorResult<StoredChunk> = await chunks.next();
        chunk = more.done ? undefined : more.value;
      }
    };
    const counted = async function* () {
      for await (const part of writeSegmentFile(schema.fields, file(), clock, stored)) {
        bytes += part.length;
        yield part;
      }
    };
    const name = `compacted/${job.vchannel}/${job.epoch}/${job.attempt}-${segmentId}.arrow`;
    const object = await blobs.put(name, counted());
    const { rowCount, minTs, maxTs } = written;
    const { partitionId } = job.segments[0]!;
    const { deltaSeq: deletesSeq } = job;
    const segment = { segmentId, partitionId, rowCount, minTs, maxTs, object, indexes: {}, deletesSeq };
    segments.push({ ...segment, bounds: bounds.result(), vectorFields: vectorFields.result() });
  }
  return segments;
}

/** Undefined: any. What rows of inputs that are gone had is still among it. */
function vectorFieldsOfAny(inputs: readonly SegmentDoc[]): number[] | undefined {
  if (inputs.some(({ vectorFields }) => vectorFields === undefined)) return undefined;
  return inputs.flatMap(({ vectorFields = [] }) => vectorFields);
}
