/**
 * Cuts writes by shard and sends the parts to the shards' owners. Each part is one entry of its shard's log, under the
 * request's id: stored whole or not at all, and once, however often it is sent.
 */
import type { ActorContext } from "../../../runtime/actor.ts";
import type { Call } from "../../../runtime/bus/bus.ts";
import { isVdbError, VdbError } from "../../../runtime/errors.ts";
import type { CollectionDoc, ShardRef } from "../../../runtime/protocol/catalog.ts";
import { type AppendRows, appendRows } from "../../../runtime/protocol/streaming.ts";
import { primaryField } from "../../../runtime/schema.ts";
import type { ColumnBatch } from "../../../runtime/segment/column.ts";
import { batchBytes, columnRows, takeColumn, takeRows } from "../../../runtime/segment/gather.ts";
import { type KeyColumn, shardOfKey } from "../../../runtime/segment/keys.ts";
import { hasNullVectors, withoutNullVectors } from "../../../runtime/segment/present-rows.ts";
import { Slots } from "../../../runtime/slots.ts";
import { Stop } from "../../../runtime/stop.ts";
import { askOwner, named } from "../ask-owner.ts";
import { rowsByPartition } from "../partition-keys.ts";

/** What larger parts would gain is little, and they hold up everything behind them. */
const PART_BYTES_MAX = 7.5 * 1024 * 1024;
/** A part is one message of the log; this leaves room for its header and the entry's. */
const PART_OF_MESSAGE = 0.94;

/** Owners remember the last minute's requests: a repetition of a write that was stored has to come well before that is over. */
const ATTEMPT_MS_MAX = 30_000;

/** Parts of one request that are under way together: with a partition key it may have a thousand. */
const PARTS_TOGETHER = 256;

export interface Write {
  requestId: string;
  partitionId: number;
  operation: AppendRows["operation"];
  /** The rows to add. */
  batch?: ColumnBatch;
  /** The keys to delete. An upsert without them deletes the keys of its batch. */
  keys?: KeyColumn;
  /** With keys: shards that have none of them get a part too, so that each knows that the request is done. */
  isForAllShards?: boolean;
  /** Something of the same request is stored already: this follows, whatever the collection is called by now. */
  follows?: boolean;
}

interface Part {
  shard: ShardRef;
  part: Write & Pick<AppendRows, "hasNullVectors">;
}

/** Answers when every part is durable and visible, with the newest part's timestamp. @throws VdbError parameter_too_large, and what the owners say */
export async function routeWrite(
  actor: ActorContext,
  collection: CollectionDoc,
  write: Write,
  call: Call,
): Promise<bigint> {
  const { follows = false, ...whole } = write;
  const parts = splitByShard(collection, whole).flatMap(({ shard, part }) =>
    splitByPartition(collection, part).map((piece) => ({ shard, part: withoutNulls(piece) })),
  );
  // All parts are checked before any is sent: a request that is refused has changed nothing.
  for (const { part } of parts) refuseLarge(part, partBytesMax(actor));
  const schemaVersion = collection.schema.version;
  const slots = new Slots(PARTS_TOGETHER);
  const append = ({ shard, part }: Part, isByName: boolean, partCall: Call) => {
    const { called, ...place } = named(collection, shard);
    const request: AppendRows = { ...part, ...place, schemaVersion, ...(isByName && !follows ? { called } : {}) };
    const target = { collection, shard, final: ["schema_mismatch" as const], attemptMsMax: ATTEMPT_MS_MAX };
    return slots.run(() => askOwner(actor, appendRows, target, request, partCall));
  };
  return asOne(call, (partCall) => sendParts(parts, (part, isByName) => append(part, isByName, partCall)));
}

/**
 * Sends all parts, and gives the newest timestamp. An owner refuses a part whose collection has another name by now. All
 * refuse: the write is for whatever has the name. Some do: the others took theirs before the renaming was answered, so
 * the write was there first, and the rest follows by whatever name.
 */
async function sendParts(
  parts: readonly Part[],
  append: (part: Part, isByName: boolean) => Promise<{ ts: bigint }>,
): Promise<bigint> {
  let newest = 0n;
  let refusal: unknown;
  const refused: Part[] = [];
  const send = async (part: Part, isByName: boolean) => {
    const { ts } = await append(part, isByName);
    if (ts > newest) newest = ts;
  };
  await Promise.all(
    parts.map(async (part) => {
      try {
        await send(part, true);
      } catch (error) {
        if (!isVdbError(error, "collection_not_found")) throw error;
        refusal = error;
        refused.push(part);
      }
    }),
  );
  if (refused.length > 0 && refused.length === parts.length) throw refusal;
  await Promise.all(refused.map((part) => send(part, false)));
  return newest;
}

/** The many asks of one request share one stop, so that the caller's signal has one listener. */
async function asOne<T>(call: Call, run: (whole: Call) => Promise<T>): Promise<T> {
  const stop = new Stop();
  const end = () => stop.abort();
  call.signal?.addEventListener("abort", end, { once: true });
  if (call.signal?.aborted === true) end();
  try {
    return await run({ ...call, signal: stop });
  } finally {
    call.signal?.removeEventListener("abort", end);
  }
}

/** One part for each shard that has any. */
function splitByShard(collection: CollectionDoc, { isForAllShards = false, ...write }: Write): Part[] {
  const { shards, schema } = collection;
  const { batch, keys } = write;
  if (shards.length === 1) return [{ shard: shards[0]!, part: write }];
  const keyColumn = batch?.columns[primaryField(schema).fieldId] as KeyColumn | undefined;
  const rowsOf = keyColumn === undefined ? [] : rowsByShard(keyColumn, shards.length);
  const keysOf = keys === undefined ? [] : rowsByShard(keys, shards.length);
  return shards.flatMap((shard, s) => {
    const part: Write = { requestId: write.requestId, partitionId: write.partitionId, operation: write.operation };
    const rows = rowsOf[s];
    const keyRows = keysOf[s];
    if (batch !== undefined && rows !== undefined && rows.length > 0) part.batch = takeRows(batch, rows);
    if (keys !== undefined && keyRows !== undefined && (keyRows.length > 0 || isForAllShards))
      part.keys = takeColumn(keys, keyRows);
    if (part.batch === undefined && part.keys === undefined) return [];
    part.operation = partOperation(write, part);
    return [{ shard, part }];
  });
}

/**
 * With a partition key, one part for each partition, since an entry of the log is about one. Each has a request id of
 * its own; the first one also deletes the rows to be replaced, when these have other keys than the new rows.
 */
function splitByPartition(collection: CollectionDoc, write: Write): Write[] {
  const { batch, keys, ...rest } = write;
  const byPartition = batch === undefined ? null : rowsByPartition(collection, batch);
  if (byPartition === null) return [write];
  return byPartition.map(({ place, rows }, i) => {
    const part: Write = {
      ...rest,
      requestId: `${write.requestId}.${place}`,
      partitionId: collection.partitions[place]!.partitionId,
      batch: rows.length === batch!.rowCount ? batch! : takeRows(batch!, rows),
    };
    if (keys !== undefined && i === 0) part.keys = keys;
    part.operation = keys !== undefined && i > 0 ? "insert" : write.operation;
    return part;
  });
}

/** An upsert with keys of its own has old rows (their keys) and new rows on different shards. */
function partOperation(write: Write, part: Write): Write["operation"] {
  if (part.batch === undefined) return "delete";
  // Without keys, an upsert would delete by the keys of its batch, which are new.
  return write.keys !== undefined && part.keys === undefined ? "insert" : write.operation;
}

function rowsByShard(keys: KeyColumn, shardCount: number): Uint32Array[] {
  const count = columnRows(keys);
  const shardOf = new Uint8Array(count);
  const counts = new Uint32Array(shardCount);
  for (let row = 0; row < count; row++) {
    const shard = shardOfKey(keys, row, shardCount);
    shardOf[row] = shard;
    counts[shard] = counts[shard]! + 1;
  }
  const rows = Array.from(counts, (n) => new Uint32Array(n));
  counts.fill(0);
  for (let row = 0; row < count; row++) {
    const shard = shardOf[row]!;
    const at = counts[shard]!;
    rows[shard]![at] = row;
    counts[shard] = at + 1;
  }
  return rows;
}

function withoutNulls(part: Write): Part["part"] {
  const { batch } = part;
  if (batch === undefined) return part;
  const stripped = { ...part, batch: withoutNullVectors(batch) };
  return hasNullVectors(batch) ? { ...stripped, hasNullVectors: true } : stripped;
}

/** Bytes that one shard's part of a write may have: less on a NATS server with a small max_payload. */
function partBytesMax({ log }: ActorContext): number {
  return Math.min(PART_BYTES_MAX, Math.floor(log.maxMessageBytes * PART_OF_MESSAGE));
}

/** Bytes of each piece of a write that is cut. Half of what one may have: rows differ, and are cut by their number. */
export function pieceBytesMax(actor: ActorContext): number {
  return partBytesMax(actor) / 2;
}

function refuseLarge(part: Write, bytesMax: number): void {
  const bytes =
    (part.batch === undefined ? 0 : batchBytes(part.batch)) + (part.keys === undefined ? 0 : keyBytes(part.keys));
  if (bytes <= bytesMax) return;
  throw new VdbError(
    "parameter_too_large",
    `the request has ${bytes} bytes for one shard, at most ${bytesMax} fit one log message: send fewer rows at a time`,
    { details: { bytes, bytesMax } },
  );
}

function keyBytes(keys: KeyColumn): number {
  return batchBytes({ rowCount: columnRows(keys), columns: { 0: keys } });
}
