/** The beginning of every read of a shard: fresh enough, at one timestamp, of the segments that there are then. */
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

/** Clocks of nodes that differ by less do no harm. */
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
  /** Of the log: the newest delete that the snapshot has. */
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
 * The timestamp, once nothing up to it can come any more: a read at it is a snapshot then. For one that is ahead of all
 * that were given out, the read waits: settled at once, it would have the writes of everybody wait until it has passed.
 * @throws VdbError invalid_parameter for one from the future; deadline_exceeded
 */
export async function settled(ctx: ActorContext, channel: Channel, readTs: bigint, call: Call): Promise<bigint> {
  const { clock } = ctx;
  if (readTs <= channel.lastTs) return readTs;
  if (msOfTimestamp(readTs) > clock.now() + TIMESTAMP_AHEAD_MS_MAX) {
    throw new VdbError("invalid_parameter", `guarantee timestamp ${readTs} is in the future`);
  }
  const options = { deadline: call.deadline, ...(call.signal === undefined ? {} : { signal: call.signal }) };
  // By this clock it may have passed while the coordinator's is behind, so it is asked whenever the two may differ.
  while (msOfTimestamp(readTs) > clock.now() - TIMESTAMP_AHEAD_MS_MAX) {
    const { first } = await askLeader(ctx, allocateTimestamps, { count: 1 }, options);
    if (first > readTs) break;
    await clock.sleep(Math.max(1, msOfTimestamp(readTs) - msOfTimestamp(first)), call.signal);
  }
  await channel.settle(readTs);
  return readTs;
}

/** @throws VdbError invalid_parameter when the shard's segments do not tell any more what there was at the timestamp */
function refusePurged({ catalog }: ActorContext, vchannel: string, readTs: bigint | undefined): void {
  const { purgedTs = 0n } = catalog.manifest(vchannel) ?? {};
  if (readTs === undefined || readTs >= purgedTs) return;
  throw new VdbError(
    "invalid_parameter",
    `the snapshot at timestamp ${readTs} is gone: rows deleted after it have been compacted away; begin again`,
  );
}

/** Rows age also where nothing is written: what has outlived its time is told by the clock, or by a read that is ahead of it. */
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
