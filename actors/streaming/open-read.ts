/**
 * How every read of a shard begins: it proves that the shard is fresh enough, fixes one timestamp, and takes the
 * segments that exist then.
 */
import type { ActorContext } from "../../runtime/actor.ts";
import { askLeader } from "../../runtime/ask-leader.ts";
import type { Call } from "../../runtime/bus/bus.ts";
import { VdbError } from "../../runtime/errors.ts";
import { allocateTimestamps } from "../../runtime/protocol/coordinator.ts";
import type { Freshness } from "../../runtime/protocol/values.ts";
import type { Snapshot } from "../../runtime/segment/segment.ts";
import { msOfTimestamp, timestampOfMs } from "../../runtime/timestamps.ts";
import { expiredTs } from "../../runtime/ttl.ts";
import type { Channel } from "./channel.ts";
import { planRead, type ReadPlan, type ReadScope } from "./plan-read.ts";
import type { Shard } from "./shard.ts";

/** How far the clocks of nodes may differ without harm. */
const TIMESTAMP_AHEAD_MS_MAX = 5_000;

interface Asked extends ReadScope {
  collectionId: number;
  vchannel: string;
  freshness: Freshness;
  /** Absent: the newest. */
  readTs?: bigint | undefined;
}

export interface OpenRead {
  plan: ReadPlan;
  snapshot: Snapshot & { schemaVersion: number | undefined };
  /** Log sequence of the newest delete in the snapshot. */
  mutSeq: number;
}

/** @throws VdbError invalid_parameter (readTs is in the future, or gone), deadline_exceeded, channel_fenced, and as planRead */
export async function openRead(
  ctx: ActorContext,
  channel: Channel,
  shard: Shard,
  asked: Asked,
  call: Call,
): Promise<OpenRead> {
  await channel.ensureFresh(asked.freshness);
  const readTs = asked.readTs === undefined ? channel.lastTs : await settled(ctx, channel, asked.readTs, call);
  const { mutSeq } = channel;
  const plan = planRead(ctx.catalog, shard, asked);
  refusePurged(ctx, asked.vchannel, asked.readTs);
  return { plan, snapshot: snapshotAt(ctx, asked.collectionId, readTs), mutSeq };
}

/**
 * Returns the timestamp once no write up to it can come any more: then a read at it is a snapshot. The read waits for a
 * timestamp that is still ahead of all that were given out: were it settled at once, everybody's writes would have to
 * wait until it has passed.
 * @throws VdbError invalid_parameter for one from the future; deadline_exceeded
 */
export async function settled(ctx: ActorContext, channel: Channel, readTs: bigint, call: Call): Promise<bigint> {
  const { clock } = ctx;
  if (readTs <= channel.lastTs) return readTs;
  if (msOfTimestamp(readTs) > clock.now() + TIMESTAMP_AHEAD_MS_MAX) {
    throw new VdbError("invalid_parameter", `guarantee timestamp ${readTs} is in the future`);
  }
  const options = { deadline: call.deadline, ...(call.signal === undefined ? {} : { signal: call.signal }) };
  // It may have passed by this clock but not by the coordinator's, so the coordinator is asked whenever the two may
  // differ.
  while (msOfTimestamp(readTs) > clock.now() - TIMESTAMP_AHEAD_MS_MAX) {
    const { first } = await askLeader(ctx, allocateTimestamps, { count: 1 }, options);
    if (first > readTs) break;
    await clock.sleep(Math.max(1, msOfTimestamp(readTs) - msOfTimestamp(first)), call.signal);
  }
  await channel.settle(readTs);
  return readTs;
}

/** @throws VdbError invalid_parameter when compaction has removed what the shard had at the timestamp */
function refusePurged({ catalog }: ActorContext, vchannel: string, readTs: bigint | undefined): void {
  const { purgedTs = 0n } = catalog.manifest(vchannel) ?? {};
  if (readTs === undefined || readTs >= purgedTs) return;
  throw new VdbError(
    "invalid_parameter",
    `the snapshot at timestamp ${readTs} is gone: rows deleted after it have been compacted away; begin again`,
  );
}

/** Rows age even where nothing is written: the clock says what has expired, or a read's timestamp that is ahead of it. */
function snapshotAt(
  { catalog, clock }: ActorContext,
  collectionId: number,
  readTs: bigint,
): Snapshot & { schemaVersion: number | undefined } {
  const collection = catalog.collection(collectionId);
  const nowTs = timestampOfMs(clock.now());
  const expired = collection === undefined ? undefined : expiredTs(collection, nowTs > readTs ? nowTs : readTs);
  const schemaVersion = collection?.schema.version;
  return { readTs, schemaVersion, ...(expired === undefined ? {} : { expiredTs: expired }) };
}
