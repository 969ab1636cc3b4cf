/**
 * What BM25 has to know of a shard: of the rows here and of those on query nodes, at one snapshot, whatever partition
 * they are in. The proxy adds up those of all shards, so that a score does not depend on where a row lies.
 */
import type { Call } from "../../runtime/bus/bus.ts";
import { segmentTermStatistics } from "../../runtime/protocol/query.ts";
import type { ShardTermStatistics } from "../../runtime/protocol/streaming.ts";
import type { TermStatistics } from "../../runtime/protocol/values.ts";
import { addStatistics, noStatistics } from "../../runtime/sparse/statistics.ts";
import type { Channel } from "./channel.ts";
import type { Reader } from "./delegator.ts";
import { openRead } from "./open-read.ts";
import type { Shard } from "./shard.ts";

export async function termStatisticsOfShard(
  { ctx, growing, sealed }: Reader,
  channel: Channel,
  shard: Shard,
  request: ShardTermStatistics,
  call: Call,
): Promise<TermStatistics> {
  const { plan, snapshot, mutSeq } = await openRead(ctx, channel, shard, { ...request, partitionIds: null }, call);
  const { collectionId, vchannel, fieldId, terms } = request;
  const part = { collectionId, vchannel, ...snapshot, mutSeq, fieldId, terms };
  const remote = sealed.read(
    {
      kind: "statistics",
      vchannel,
      segmentIds: plan.remote,
      size: 1,
      ask: (nodeId, segmentIds, options) =>
        ctx.bus.ask(segmentTermStatistics, { nodeId }, { segmentIds, ...part }, options),
    },
    call,
  );
  const tools = { clock: ctx.clock, deadline: call.deadline };
  const local = plan.local.map((segment) => growing.termStatistics(segment, { fieldId, terms }, snapshot, tools));
  const [found, ...here] = await Promise.all([remote, ...local]);
  const sum = noStatistics(terms.length);
  for (const { reply } of found) addStatistics(sum, reply);
  for (const statistics of here) addStatistics(sum, statistics);
  return sum;
}
