/**
 * Asks a shard's owner: the streaming node that holds its channel. When the channel moves, the request follows it, as
 * often as it takes until the call's deadline. Writes carry a request id, so they are applied once all the same.
 */
import type { ActorContext } from "../../runtime/actor.ts";
import { askUntil } from "../../runtime/ask-until.ts";
import type { Call } from "../../runtime/bus/bus.ts";
import { type ErrorKind, isVdbError, VdbError } from "../../runtime/errors.ts";
import { calledNow, collectionNotFound, shardGone } from "../../runtime/meta/catalog.ts";
import { type CollectionDoc, metaKeys, type ShardRef } from "../../runtime/protocol/catalog.ts";
import type { Operation } from "../../runtime/protocol/operation.ts";
import { attemptDeadline, backOff } from "./backoff.ts";

interface OneTarget {
  shard: Pick<ShardRef, "pchannel">;
  /** After this long without an answer the owner is asked again, however long the caller waits. */
  attemptMsMax?: number;
}

interface Target extends OneTarget {
  collection: CollectionDoc;
  shard: ShardRef;
  /** Kinds of errors that the caller handles itself, though they are retriable. */
  final?: ErrorKind[];
}

/** How a request names a shard: what the owner is to know the collection by. */
export function named(collection: CollectionDoc, { vchannel }: ShardRef) {
  return { ...calledNow(collection), vchannel };
}

/** Of a read, which was planned by the collection's schema. */
export function planned(collection: CollectionDoc, shard: ShardRef) {
  return { ...named(collection, shard), schemaVersion: collection.schema.version };
}

/**
 * @param operation one of runtime/protocol/streaming.ts: its only parameter is nodeId
 * @throws VdbError what the owner says; collection_not_found, collection_truncated when its shard has gone meanwhile
 */
export async function askOwner<Request, Reply>(
  actor: ActorContext,
  operation: Operation<string, Request, Reply>,
  target: Target,
  request: Request,
  call: Call,
): Promise<Reply> {
  const { collection, shard, final = [] } = target;
  for (let attempt = 0; ; attempt++) {
    try {
      return await askOwnerOnce(actor, operation, target, request, call);
    } catch (error) {
      if (final.length > 0 && isVdbError(error, ...final)) throw error;
      await backOff(actor, error, attempt, call);
    }
    const now = actor.catalog.collection(collection.collectionId);
    if (now === undefined) throw collectionNotFound(collection.database, collection.name);
    if (!now.shards.some(({ vchannel }) => vchannel === shard.vchannel)) {
      throw shardGone(actor.catalog, shard.vchannel);
    }
  }
}

/** @throws VdbError what the owner says; not_ready, channel_not_owned: there is none, or it is another one by now */
export async function askOwnerOnce<Request, Reply>(
  actor: ActorContext,
  operation: Operation<string, Request, Reply>,
  { shard, attemptMsMax }: OneTarget,
  request: Request,
  call: Call,
): Promise<Reply> {
  const { catalog, bus } = actor;
  const owner = catalog.channelOwner(shard.pchannel);
  if (owner === undefined) throw new VdbError("not_ready", `channel ${shard.pchannel} has no owner yet`);
  // An owner that is gone never answers: its successor's assignment is what tells us.
  return askUntil(
    {
      watch: (giveUp) =>
        catalog.cache.subscribe(metaKeys.channel(shard.pchannel), () => {
          if (catalog.channelOwner(shard.pchannel)?.nodeId !== owner.nodeId) giveUp();
        }),
      gone: (cause) =>
        new VdbError("channel_not_owned", `channel ${shard.pchannel} moved away from node ${owner.nodeId}`, { cause }),
    },
    call.signal,
    (signal) => {
      const deadline = attemptDeadline(actor, operation.timeoutMs, call, attemptMsMax);
      return bus.ask(operation, { nodeId: owner.nodeId }, request, { deadline, signal });
    },
  );
}
