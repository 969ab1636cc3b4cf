/** entities/delete: by the keys that the filter lists, or else by the keys of the rows that it finds. */
import { z } from "zod";
import type { Call } from "../../runtime/bus/bus.ts";
import { type FilterPlan, primaryKeysOf } from "../../runtime/expr/plan.ts";
import type { CollectionDoc } from "../../runtime/protocol/catalog.ts";
import type { PublicReply } from "../../runtime/protocol/public.ts";
import { primaryField } from "../../runtime/schema.ts";
import { batchBytes, columnRows, joinKeys, takeColumn } from "../../runtime/segment/gather.ts";
import { type KeyColumn, keyKindOf, keysOf } from "../../runtime/segment/keys.ts";
import { type ProxyContext, success } from "./context.ts";
import { CollectionBody, optional } from "./parse-body.ts";
import { queryShards } from "./query/query-shards.ts";
import { partitionIdOf, partitionIdsOf, resolveLoaded, resolveToWrite } from "./resolve.ts";
import { pieceBytesMax, routeWrite, type Write } from "./write/route-writes.ts";
import { RequestIdField, requestIdOf } from "./write-entities.ts";

export const DeleteBody = CollectionBody.extend({
  filter: z.string().min(1),
  exprParams: optional(z.record(z.string(), z.unknown())),
  partitionName: optional(z.string()),
  requestId: RequestIdField,
});
type DeleteBody = z.infer<typeof DeleteBody>;

/** `deleteCount` is the number of keys listed, whether or not there are such rows; or of the rows found. */
export async function deleteEntities(proxy: ProxyContext, request: DeleteBody, call: Call): Promise<PublicReply> {
  const requestId = requestIdOf(proxy, request.requestId);
  const planOf = (of: CollectionDoc) =>
    proxy.filterPlans.plan(of, { text: request.filter, templateValues: request.exprParams, purpose: "delete" })!;
  const partitionNames =
    request.partitionName === undefined || request.partitionName === "" ? [] : [request.partitionName];
  // Which partitions there are counts, then.
  if (partitionNames.length > 0) await proxy.actor.catalog.cache.sync(call.deadline);
  const named = await resolveToWrite(proxy.actor, request, call);
  const listed = primaryKeysOf(planOf(named));
  // A delete removes its keys from all partitions. So for one partition among several, only keys of rows that it has
  // may be named.
  const isFound = listed === null || (partitionNames.length > 0 && named.partitions.length > 1);
  // By an outdated schema other rows could match: of a field that has been dropped, or is another one's name now.
  if (isFound && partitionNames.length === 0) await proxy.actor.catalog.cache.sync(call.deadline);
  const collection = isFound ? await resolveLoaded(proxy.actor, request, call) : named;
  const partitionId = partitionIdOf(collection, request.partitionName);
  const keys = isFound
    ? await keysFound(proxy, collection, { plan: planOf(collection), partitionNames }, call)
    : [keysOf(keyKindOf(primaryField(collection.schema)), listed)];
  const pieces = isFound
    ? foundPieces(proxy, collection, keys, request.requestId)
    : listedPieces(keys[0]!, requestId, pieceBytesMax(proxy.actor));
  let ts: bigint | undefined;
  for (const piece of pieces) {
    const write: Write = { ...piece, partitionId, operation: "delete", follows: ts !== undefined };
    ts = await routeWrite(proxy.actor, collection, write, call);
    proxy.sessions.note(collection.collectionId, ts);
  }
  const deleteCount = listed?.length ?? keys.reduce((sum, column) => sum + columnRows(column), 0);
  return success({ deleteCount }, { cost: 0, ...(ts === undefined ? {} : { sessionTs: String(ts) }) });
}

/** Keys of the rows that match now. A row that is written between this read and the delete stays. */
async function keysFound(
  proxy: ProxyContext,
  collection: CollectionDoc,
  { plan: filter, partitionNames }: { plan: FilterPlan; partitionNames: string[] },
  call: Call,
): Promise<KeyColumn[]> {
  const partitionIds = partitionIdsOf(collection, partitionNames);
  const { found } = await queryShards(
    proxy.actor,
    collection,
    { freshness: { level: "strong" }, partitionIds, filter, fieldIds: [], limit: null, countOnly: false },
    call,
  );
  return found.map(({ keys }) => keys);
}

/** One write after the other. */
type Piece = Pick<Write, "requestId" | "keys" | "isForAllShards">;

/**
 * Listed keys are cut the same when the request comes again, unless the server's max_payload has changed: an id says which
 * keys its piece has.
 */
function listedPieces(keys: KeyColumn, requestId: string, bytesMax: number): Piece[] {
  const pieces = cutKeys(keys, bytesMax);
  if (pieces.length === 1) return [{ requestId, keys }];
  let end = 0;
  return pieces.map((piece) => {
    const start = end;
    end += columnRows(piece);
    return { requestId: `${requestId}.${start}to${end}`, keys: piece };
  });
}

/**
 * A repeated request finds other rows, even ones written after it was first answered. So each shard gets one part under
 * the request's id, an empty one where nothing matches: a repetition finds it done there. More keys than fit in one
 * part are deleted as they are found, each time.
 */
function foundPieces(
  proxy: ProxyContext,
  collection: CollectionDoc,
  found: readonly KeyColumn[],
  requestId: string | undefined,
): Piece[] {
  const bytes = found.reduce((sum, keys) => sum + batchBytes({ rowCount: columnRows(keys), columns: { 0: keys } }), 0);
  const bytesMax = pieceBytesMax(proxy.actor);
  // Without an id from the client the request cannot be repeated.
  if (requestId === undefined || requestId === "" || bytes > bytesMax) {
    return found
      .flatMap((column) => cutKeys(column, bytesMax))
      .map((keys) => ({ requestId: proxy.actor.random.ulid(), keys }));
  }
  return [{ requestId, keys: joinKeys(keyKindOf(primaryField(collection.schema)), found), isForAllShards: true }];
}

function cutKeys(keys: KeyColumn, bytesMax: number): KeyColumn[] {
  const count = columnRows(keys);
  const pieces: KeyColumn[] = [];
  let start = 0;
  while (start < count) {
    let end = start;
    for (let bytes = 0; end < count; end++) {
      bytes += keys.kind === "int64" ? 8 : keys.offsets[end + 1]! - keys.offsets[end]! + 4;
      if (bytes > bytesMax && end > start) break;
    }
    pieces.push(start === 0 && end === count ? keys : sliceKeys(keys, start, end));
    start = end;
  }
  return pieces;
}

function sliceKeys(keys: KeyColumn, start: number, end: number): KeyColumn {
  const rows = Uint32Array.from({ length: end - start }, (_, i) => start + i);
  return takeColumn(keys, rows);
}
