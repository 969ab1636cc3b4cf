/** The shards of a new or emptied collection: where they are, and the manifests that they begin with. */
import type { ActorContext } from "../../../runtime/actor.ts";
import type { CollectionDoc, ManifestDoc, ShardRef } from "../../../runtime/protocol/catalog.ts";

/** Shards go where the fewest are, so that a hot collection is spread and many small ones share evenly. */
export function placeShards(ctx: ActorContext, collectionId: number, shardCount: number): CollectionDoc["shards"] {
  const counts = new Array<number>(ctx.catalog.cluster()?.walChannels ?? 1).fill(0);
  for (const collection of ctx.catalog.collections()) {
    for (const { pchannel } of collection.shards) counts[pchannel] = (counts[pchannel] ?? 0) + 1;
  }
  return Array.from({ length: shardCount }, (_, n) => {
    const pchannel = counts.indexOf(Math.min(...counts));
    counts[pchannel] = counts[pchannel]! + 1;
    return { vchannel: `${collectionId}v${n}`, pchannel };
  });
}

/**
 * Shards to take the place of a collection's, on the same channels. Their numbers go on where those ended: a vchannel's
 * name is never used again.
 */
export function nextShards({ collectionId, shards }: CollectionDoc): CollectionDoc["shards"] {
  const prefix = `${collectionId}v`;
  const first = Math.max(...shards.map(({ vchannel }) => Number(vchannel.slice(prefix.length)))) + 1;
  return shards.map(({ pchannel }, n) => ({ vchannel: `${prefix}${first + n}`, pchannel }));
}

/** A shard begins at the end of the log: nothing before that is its own, so nobody needs to read it. */
export async function newManifest(ctx: ActorContext, collectionId: number, shard: ShardRef): Promise<ManifestDoc> {
  const { lastSeq } = await ctx.log.bounds(shard.pchannel);
  return {
    collectionId,
    ...shard,
    segments: [],
    staged: [],
    flushed: {},
    flushedSeq: lastSeq,
    deltaSeq: lastSeq,
    deltas: [],
  };
}
