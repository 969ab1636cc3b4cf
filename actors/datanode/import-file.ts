/** One file of an import: read by a process of its own, its rows stored as segments of the shards that they belong to. */
import type { ActorContext } from "../../runtime/actor.ts";
import { askLeader } from "../../runtime/ask-leader.ts";
import { isVdbError, VdbError } from "../../runtime/errors.ts";
import type { ImportHost } from "../../runtime/machine/port.ts";
import { existingCollection } from "../../runtime/meta/catalog.ts";
import { partitionKeyField } from "../../runtime/partitions.ts";
import { metaKeys, type WrittenSegment } from "../../runtime/protocol/catalog.ts";
import { allocateIds } from "../../runtime/protocol/coordinator.ts";
import type { ImportedFile, ImportFile, ImportProgress } from "../../runtime/protocol/data.ts";

/** A failover is waited out. */
const IDS_TRIES = 20;
const IDS_PAUSE_MS = 500;
const SYNC_TIMEOUT_MS = 10_000;

/** @throws VdbError import_failed with the file's name in front; collection_not_found, canceled, unavailable, internal */
export async function importCollectionFile(
  ctx: ActorContext,
  job: ImportFile,
  signal: AbortSignal,
  onProgress: (progress: ImportProgress) => void,
): Promise<ImportedFile> {
  const { catalog, clock, machine, random } = ctx;
  const began = clock.monotonic();
  // This node may not have heard yet of the collection, or of a field that the job's file has.
  await catalog.cache.sync(began + SYNC_TIMEOUT_MS);
  const collection = existingCollection(catalog, job.collectionId);
  const { schema, shards, partitions } = collection;
  const isByKey = job.partitionId === undefined && partitionKeyField(schema) !== undefined;
  const partitionIds = isByKey
    ? partitions.map(({ partitionId }) => partitionId)
    : [job.partitionId ?? partitions[0]!.partitionId];
  const segments: WrittenSegment[] = [];
  const unwanted = new AbortController();
  using _job = catalog.cache.subscribe(metaKeys.importJob(job.jobId), () => {
    const state = catalog.importJob(job.jobId)?.state;
    if (state === undefined || state === "Failed") unwanted.abort();
  });
  const until = AbortSignal.any([signal, unwanted.signal]);
  const host = {
    takeIds: (count: number) => takeIds(ctx, count, until),
    newObjectName: (shard: number) =>
      `imported/${shards[shard]!.vchannel}/${job.epoch}/${job.attempt}-${random.ulid()}.arrow`,
    stored({ shard, partition, rowCount, object }: Parameters<ImportHost["stored"]>[0]) {
      const { vchannel } = shards[shard]!;
      const partitionId = partitionIds[partition]!;
      const segmentId = /([^-]+)\.arrow$/.exec(object.name)![1]!;
      segments.push({ vchannel, segmentId, partitionId, rowCount, object });
    },
  };
  const { name, object, options, targetBytes, ts } = job;
  try {
    const { rows, bytes } = await machine.importFile(
      {
        ...{ name, object, options, schema, targetBytes, ts },
        shardCount: shards.length,
        partitionCount: partitionIds.length,
      },
      host,
      until,
      onProgress,
    );
    return { segments, rowCount: rows, bytes, seconds: (clock.monotonic() - began) / 1000 };
  } catch (error) {
    if (!isVdbError(error, "import_failed")) throw error;
    const why = error.message.replace(/^importing data failed: /, "");
    throw new VdbError("import_failed", `importing data failed: file ${name}: ${why}`, { cause: error });
  }
}

async function takeIds(ctx: ActorContext, count: number, signal: AbortSignal): Promise<number> {
  for (let attempt = 1; ; attempt++) {
    try {
      return (await askLeader(ctx, allocateIds, { count }, { signal })).first;
    } catch (error) {
      if (!isVdbError(error) || !error.retriable || attempt === IDS_TRIES) throw error;
    }
    await ctx.clock.sleep(IDS_PAUSE_MS, signal);
  }
}
