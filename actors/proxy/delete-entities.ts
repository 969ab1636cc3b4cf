/** entities/delete: by the keys that the filter lists, else by those of the rows that it finds. */
import { z } from "zod";
import type { Call } from "../../runtime/bus/bus.ts";
import { type FilterPlan, primaryKeysOf } from "../../runtime/expr/plan.ts";
import type { CollectionDoc } from "../../runtime/protocol/catalog.ts";
import type { PublicReply } from "../../runtime/protocol/public.ts";
import { primaryField } from "../../runtime/schema.ts";
import { columnRows, gatherColumn } from "../../runtime/segment/gather.ts";
import { type KeyColumn, keyKindOf, keysOf } from "../../runtime/segment/keys.ts";
import { type ProxyContext, success } from "./context.ts";
import { CollectionBody, optional, parseBody } from "./parse-body.ts";
import { queryShards } from "./query-shards.ts";
import { partitionIdOf, resolveCollection, resolveLoaded } from "./resolve.ts";
import { routeWrite } from "./route-writes.ts";
import { RequestIdField, requestIdOf } from "./write-entities.ts";

/** Keys of one write: well below what fits a log message. */
const PIECE_BYTES_MAX = 4 * 1024 * 1024;

const DeleteBody = CollectionBody.extend({
  filter: z.string().min(1),
  exprParams: optional(z.record(z.string(), z.unknown())),
  partitionName: optional(z.string()),
  requestId: RequestIdField,
});

/** `deleteCount` is the number of keys listed, whether or not there are such rows; or of the rows found. */
export async function deleteEntities(proxy: ProxyContext, body: unknown, call: Call): Promise<PublicReply> {
  const request = parseBody(DeleteBody, body);
  const requestId = requestIdOf(proxy, request.requestId);
  const collection = await resolveCollection(proxy.actor, request, call);
  const partitionId = partitionIdOf(collection, request.partitionName);
  const plan = proxy.filterPlans.plan(collection, {
    text: request.filter,
    templateValues: request.exprParams,
    purpose: "delete",
  })!;
  const listed = primaryKeysOf(plan);
  const keys =
    listed === null
      ? await keysFound(proxy, await resolveLoaded(proxy.actor, request, call), plan, call)
      : [keysOf(keyKindOf(primaryField(collection.schema)), listed)];
  let ts: bigint | undefined;
  for (const [i, piece] of keys.flatMap(cutKeys).entries()) {
    // Listed keys are cut the same when the request comes again. Found ones are not: then other rows may be left to
    // delete, and they must not be taken for done.
    const id = listed === null ? proxy.actor.random.ulid() : i === 0 ? requestId : `${requestId}.${i}`;
    ts = await routeWrite(
      proxy.actor,
      collection,
      { requestId: id, partitionId, operation: "delete", keys: piece },
      call,
    );
    proxy.sessions.note(collection.collectionId, ts);
  }
  const deleteCount = keys.reduce((sum, column) => sum + columnRows(column), 0);
  return success({ deleteCount }, { cost: 0, ...(ts === undefined ? {} : { sessionTs: String(ts) }) });
}

/** Keys of the rows that match now. A row that is written between this read and the delete stays. */
async function keysFound(
  proxy: ProxyContext,
  collection: CollectionDoc,
  filter: FilterPlan,
  call: Call,
): Promise<KeyColumn[]> {
  const { found } = await queryShards(
    proxy.actor,
    collection,
    { freshness: { level: "strong" }, partitionIds: null, filter, fieldIds: [], limit: null, countOnly: false },
    call,
  );
  return found.map(({ keys }) => keys);
}

function cutKeys(keys: KeyColumn): KeyColumn[] {
  const count = columnRows(keys);
  const pieces: KeyColumn[] = [];
  let start = 0;
  while (start < count) {
    let end = start;
    for (let bytes = 0; end < count; end++) {
      bytes += keys.kind === "int64" ? 8 : keys.offsets[end + 1]! - keys.offsets[end]! + 4;
      if (bytes > PIECE_BYTES_MAX && end > start) break;
    }
    pieces.push(start === 0 && end === count ? keys : sliceKeys(keys, start, end));
    start = end;
  }
  return pieces;
}

function sliceKeys(keys: KeyColumn, start: number, end: number): KeyColumn {
  const rows = Uint32Array.from({ length: end - start }, (_, i) => start + i);
  return gatherColumn([keys], keys, { sources: new Uint32Array(rows.length), rows }) as KeyColumn;
}
