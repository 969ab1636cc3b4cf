/** A query without a vector, asked of the shards that can have matching rows. */
import type { ActorContext } from "../../../runtime/actor.ts";
import type { Call } from "../../../runtime/bus/bus.ts";
import { type FilterPlan, primaryKeysOf } from "../../../runtime/expr/plan.ts";
import type { CollectionDoc, ShardRef } from "../../../runtime/protocol/catalog.ts";
import { queryShard } from "../../../runtime/protocol/streaming.ts";
import type { Aggregation, FoundRows, Freshness, Groups, RowOrder } from "../../../runtime/protocol/values.ts";
import { primaryField } from "../../../runtime/schema.ts";
import { groupsOf, rowsOf } from "../../../runtime/search/merge-answers.ts";
import { keyKindOf, keysOf, shardOfKey } from "../../../runtime/segment/keys.ts";
import { askOwner, planned } from "../ask-owner.ts";
import { partitionsOfFilter } from "../partition-keys.ts";

export interface ShardQuery {
  freshness: Freshness;
  partitionIds: number[] | null;
  /** Null: all rows. */
  filter: FilterPlan | null;
  fieldIds: number[];
  /** Of each shard; null: all. */
  limit: number | null;
  countOnly: boolean;
  /** Of the rows, whose fields are then among fieldIds. */
  order?: RowOrder;
  /** Instead of rows. */
  aggregation?: Aggregation;
  readTs?: bigint;
}

/** Rows of each shard, in order, or its groups; not merged. @throws VdbError what the owners say */
export async function queryShards(
  actor: ActorContext,
  collection: CollectionDoc,
  query: ShardQuery,
  call: Call,
): Promise<{ count: number; found: FoundRows[]; groups: Groups[] }> {
  const partitionIds = query.partitionIds ?? partitionsOfFilter(collection, query.filter);
  const replies = await Promise.all(
    shardsOf(collection, query.filter).map((shard) => {
      const request = { ...planned(collection, shard), ...query, partitionIds };
      return askOwner(actor, queryShard, { collection, shard }, request, call);
    }),
  );
  return {
    count: replies.reduce((sum, { count }) => sum + count, 0),
    found: rowsOf(replies, query.order ?? []),
    groups: query.aggregation === undefined ? [] : groupsOf(replies),
  };
}

/** A filter that lists primary keys concerns the shards that they hash to. */
function shardsOf(collection: CollectionDoc, filter: FilterPlan | null): ShardRef[] {
  const { shards, schema } = collection;
  const keys = filter === null || shards.length === 1 ? null : primaryKeysOf(filter);
  if (keys === null) return shards;
  const column = keysOf(keyKindOf(primaryField(schema)), keys);
  const wanted = new Set(keys.map((_, row) => shardOfKey(column, row, shards.length)));
  return shards.filter((_, s) => wanted.has(s));
}
