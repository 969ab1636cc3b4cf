/**
 * Upserts of rows that give some of their fields only: by key (`partialUpdate`), or of all rows that a filter matches
 * (`filter`). The rows are read as they are now, the fields laid over them, and whole rows upserted.
 *
 * Reading and writing are two steps. Of two that change the same row at the same time the later write wins with its whole
 * row, so it may undo what the other did to fields that it does not give; no row is ever a mixture of halves, and one that
 * was acknowledged before the request began is never missed. A request that is sent again under its id is applied once.
 */
import { z } from "zod";
import type { Call } from "../../../runtime/bus/bus.ts";
import type { Clock } from "../../../runtime/clock.ts";
import { VdbError } from "../../../runtime/errors.ts";
import { type FilterPlan, planFilter } from "../../../runtime/expr/plan.ts";
import { DEFAULT_PARTITION, loadedPartitions, partitionKeyField } from "../../../runtime/partitions.ts";
import type { CollectionDoc } from "../../../runtime/protocol/catalog.ts";
import type { FoundRows } from "../../../runtime/protocol/values.ts";
import { keysFrom } from "../../../runtime/rows/generated-keys.ts";
import { has, primaryKeyColumn, type Row } from "../../../runtime/rows/rows-to-columns.ts";
import { primaryField } from "../../../runtime/schema.ts";
import { gatherFound, pickNewest } from "../../../runtime/search/merge-rows.ts";
import type { ColumnBatch, PrimaryKey } from "../../../runtime/segment/column.ts";
import { batchBytes, columnRows, joinKeys, takeRows } from "../../../runtime/segment/gather.ts";
import { type KeyColumn, keyAt, keyKindOf } from "../../../runtime/segment/keys.ts";
import type { ProxyContext } from "../context.ts";
import { optional } from "../parse-body.ts";
import { queryShards } from "../query/query-shards.ts";
import { partitionIdOf } from "../resolve.ts";
import { timeZoneOf } from "../time-zone.ts";
import { FIELD_OPS, type FieldOp, fieldsToRead, type Overlay, overlayRows } from "./overlay-rows.ts";
import { refuseRepeatedKeys } from "./repeated-keys.ts";
import { pieceBytesMax, type Write } from "./route-writes.ts";
import { sendWrite, withFirstId } from "./send-write.ts";

/** Of a filter: what is read stands in memory, all columns of it. */
const FILTERED_ROWS_MAX = 16_384;

/** The operations by name, or by their numbers. */
export const FieldOps = optional(
  z.array(z.object({ fieldName: z.string().min(1), op: optional(z.union([z.string(), z.number()])) })),
);
type FieldOps = z.infer<typeof FieldOps>;

export interface PartialUpsert {
  rows: readonly Row[];
  ops: ReadonlyMap<string, FieldOp>;
  partitionName: string | undefined;
  requestId: string;
  firstId: number | undefined;
}

export interface Upserted {
  /** Of the rows, in their order. */
  keys: KeyColumn;
  ts: bigint;
}

/** @throws VdbError invalid_parameter */
export function fieldOpsOf(given: FieldOps): Map<string, FieldOp> {
  const ops = new Map<string, FieldOp>();
  for (const { fieldName, op = "REPLACE" } of given ?? []) {
    const known = typeof op === "number" ? FIELD_OPS[op] : FIELD_OPS.find((name) => name === op);
    if (known === undefined) {
      throw new VdbError("invalid_parameter", `fieldOps: unknown op ${op}, use one of ${FIELD_OPS.join(", ")}`);
    }
    if (ops.has(fieldName)) throw new VdbError("invalid_parameter", `fieldOps: field ${fieldName} is named twice`);
    ops.set(fieldName, known);
  }
  return ops;
}

/** Rows by their keys; those that are not there yet must be complete. @throws VdbError as an upsert, and collection_not_loaded */
export async function upsertPartially(
  proxy: ProxyContext,
  collection: CollectionDoc,
  request: PartialUpsert,
  call: Call,
): Promise<Upserted> {
  const { schema, properties } = collection;
  const { rows, ops, partitionName } = request;
  const keys = primaryKeyColumn(schema, rows);
  refuseRepeatedKeys(keys);
  const overlay: Overlay = { rows, ops, zone: timeZoneOf(proxy.actor.catalog, collection) };
  const ids = Array.from({ length: rows.length }, (_, row) => keyAt(keys, row));
  const filter = planFilter(`${primaryField(schema).name} in {ids}`, schema, {
    templateValues: { ids },
    purpose: "query",
  });
  const read = { filter, fieldIds: fieldsToRead(schema, overlay), limit: null, partitionName };
  const found = await readPartitions(proxy, collection, read, call);
  const { partitionIds, ...existing } = await placesOf(ids, found, proxy.actor.clock);
  const merged = overlayRows(schema, overlay, existing);
  const groups = groupsOf(partitionIds, partitionIdOf(collection, partitionName));
  if (!schema.autoId || properties.allow_insert_auto_id === "true") {
    const batch = withKeys(collection, merged, keys);
    return { keys, ts: await writeGroups(proxy, collection, { batch, groups, requestId: request.requestId }, call) };
  }
  const firstId = request.firstId ?? (await proxy.autoIds.take(rows.length, call));
  const newKeys = keysFrom(firstId, rows.length, primaryField(schema));
  const batch = withKeys(collection, merged, newKeys);
  // In few characters: the id of a partition may be added.
  const requestId = `${request.requestId}.${firstId.toString(36)}`;
  try {
    return {
      keys: newKeys,
      ts: await writeGroups(proxy, collection, { batch, oldKeys: keys, groups, requestId }, call),
    };
  } catch (error) {
    throw withFirstId(error, firstId);
  }
}

/** Each partition is a request of its own. */
async function writeGroups(
  proxy: ProxyContext,
  collection: CollectionDoc,
  rows: { batch: ColumnBatch; oldKeys?: KeyColumn; groups: readonly PartitionGroup[]; requestId: string },
  call: Call,
): Promise<bigint> {
  const { batch, oldKeys, groups } = rows;
  let newest = 0n;
  for (const { partitionId, rows: picked } of groups) {
    const isWhole = groups.length === 1;
    const write: Write = {
      operation: "upsert",
      batch: isWhole ? batch : takeRows(batch, picked),
      requestId: requestIdIn(collection, partitionId, rows.requestId),
      partitionId,
      follows: newest > 0n,
    };
    if (oldKeys !== undefined) write.keys = isWhole ? oldKeys : keysAt(oldKeys, picked);
    newest = later(newest, await sendWrite(proxy, collection, write, call));
  }
  return newest;
}

/**
 * A request's id in one partition. It is the same when the request comes again and there are more partitions or fewer:
 * the default one is always there, the others are named by their ids, which nothing else ever gets.
 */
function requestIdIn({ schema, partitions }: CollectionDoc, partitionId: number, requestId: string): string {
  if (partitionKeyField(schema) !== undefined) return requestId;
  const { name } = partitions.find((partition) => partition.partitionId === partitionId) ?? {};
  return name === DEFAULT_PARTITION ? requestId : `${requestId}.${partitionId.toString(36)}`;
}

/**
 * One row, without a key, for every row that the filter matches: they keep their keys and their partitions.
 * @throws VdbError invalid_parameter, collection_not_loaded
 */
export async function upsertByFilter(
  proxy: ProxyContext,
  collection: CollectionDoc,
  request: Omit<PartialUpsert, "firstId"> & { filter: string; exprParams: Record<string, unknown> | undefined },
  call: Call,
): Promise<Upserted> {
  const { schema } = collection;
  const [row, another] = request.rows;
  if (row === undefined || another !== undefined) {
    throw new VdbError("invalid_parameter", "an upsert with a filter takes one row: the fields to set");
  }
  const { name } = primaryField(schema);
  if (has(row, name)) {
    throw new VdbError("invalid_primary_key", `field ${name}: an upsert with a filter takes no key, leave it out`);
  }
  const filter = proxy.filterPlans.plan(collection, {
    text: request.filter,
    templateValues: request.exprParams,
    purpose: "query",
  });
  const given: Overlay = { rows: [row], ops: request.ops, zone: timeZoneOf(proxy.actor.catalog, collection) };
  const read = { filter, fieldIds: fieldsToRead(schema, given), limit: FILTERED_ROWS_MAX + 1 };
  const found = await readPartitions(proxy, collection, { ...read, partitionName: request.partitionName }, call);
  const count = found.reduce((sum, { rows }) => sum + columnRows(rows.keys), 0);
  if (count > FILTERED_ROWS_MAX) {
    throw new VdbError(
      "invalid_parameter",
      `the filter matches more than ${FILTERED_ROWS_MAX} rows, as many as one upsert can change: use a narrower one`,
    );
  }
  const writes = found.flatMap(({ partitionId, rows: { keys, batch } }) => {
    const overlay = { ...given, rows: new Array<Row>(batch.rowCount).fill(row) };
    const places = Int32Array.from({ length: batch.rowCount }, (_, i) => i);
    const whole = withKeys(collection, overlayRows(schema, overlay, { batch, rows: places }), keys);
    const pieces = piecesOf(whole, pieceBytesMax(proxy.actor));
    // Other rows may match when the request comes again: only what was written as one is known by its id.
    const requestId = () =>
      pieces.length === 1 ? requestIdIn(collection, partitionId, request.requestId) : proxy.actor.random.ulid();
    return pieces.map((piece) => ({ partitionId, requestId: requestId(), batch: piece }));
  });
  let ts = 0n;
  for (const write of writes) {
    const upsert: Write = { operation: "upsert", ...write, follows: ts > 0n };
    ts = later(ts, await sendWrite(proxy, collection, upsert, call));
  }
  const key = primaryField(schema);
  const keys = writes.map(({ batch }) => batch.columns[key.fieldId] as KeyColumn);
  return { keys: joinKeys(keyKindOf(key), keys), ts };
}

interface FoundPartition {
  partitionId: number;
  rows: FoundRows;
}

/**
 * Rows as they are now, by the partition that they are to stay in. Where a partition key decides that, or there is one
 * partition only, all are read at once.
 */
async function readPartitions(
  proxy: ProxyContext,
  collection: CollectionDoc,
  read: { filter: FilterPlan | null; fieldIds: number[]; limit: number | null; partitionName: string | undefined },
  call: Call,
): Promise<FoundPartition[]> {
  const { partitionName, ...query } = read;
  const isNamed = partitionName !== undefined && partitionName !== "";
  const isAtOnce = partitionKeyField(collection.schema) !== undefined || collection.partitions.length === 1;
  const named = partitionIdOf(collection, partitionName);
  const partitionIds = isNamed || isAtOnce ? [named] : [...loadedPartitions(collection)];
  const found: FoundPartition[] = [];
  for (const partitionId of partitionIds) {
    const parts = await queryShards(
      proxy.actor,
      collection,
      {
        ...query,
        freshness: { level: "strong" },
        partitionIds: isAtOnce && !isNamed ? null : [partitionId],
        countOnly: false,
      },
      call,
    );
    const rows = parts.found.filter(({ keys }) => columnRows(keys) > 0);
    if (rows.length === 0) continue;
    const pick = await pickNewest(rows, { limit: null }, proxy.actor.clock);
    found.push({ partitionId, rows: gatherFound(rows, pick, query.fieldIds) });
  }
  return found;
}

/** The rows found in one batch, and where in it the row of each key is; of rows in several partitions, the newest. */
async function placesOf(
  ids: readonly PrimaryKey[],
  found: readonly FoundPartition[],
  clock: Clock,
): Promise<{ batch: ColumnBatch; rows: Int32Array; partitionIds: (number | undefined)[] }> {
  const parts = found.map(({ rows }) => rows);
  if (parts.length === 0) {
    return {
      batch: { rowCount: 0, columns: {} },
      rows: new Int32Array(ids.length).fill(-1),
      partitionIds: ids.map(() => undefined),
    };
  }
  const pick = await pickNewest(parts, { limit: null }, clock);
  const fieldIds = [...new Set(parts.flatMap(({ batch }) => Object.keys(batch.columns).map(Number)))];
  const { keys, batch } = gatherFound(parts, pick, fieldIds);
  const places = new Map(Array.from({ length: columnRows(keys) }, (_, row) => [keyAt(keys, row), row]));
  const rows = Int32Array.from(ids, (id) => places.get(id) ?? -1);
  const partitionIds = Array.from(rows, (row) => (row < 0 ? undefined : found[pick.sources[row]!]!.partitionId));
  return { batch, rows, partitionIds };
}

interface PartitionGroup {
  partitionId: number;
  rows: Uint32Array;
}

/** Rows that are there stay in their partition, the others go to the target. */
function groupsOf(partitionIds: readonly (number | undefined)[], target: number): PartitionGroup[] {
  const groups = new Map<number, number[]>();
  partitionIds.forEach((partitionId = target, row) => {
    const there = groups.get(partitionId);
    if (there === undefined) groups.set(partitionId, [row]);
    else there.push(row);
  });
  return [...groups].map(([partitionId, rows]) => ({ partitionId, rows: Uint32Array.from(rows) }));
}

function withKeys({ schema }: CollectionDoc, { rowCount, columns }: ColumnBatch, keys: KeyColumn): ColumnBatch {
  return { rowCount, columns: { ...columns, [primaryField(schema).fieldId]: keys } };
}

function keysAt(keys: KeyColumn, rows: Uint32Array): KeyColumn {
  return takeRows({ rowCount: columnRows(keys), columns: { 0: keys } }, rows).columns[0] as KeyColumn;
}

function piecesOf(batch: ColumnBatch, bytesMax: number): ColumnBatch[] {
  const count = Math.min(batch.rowCount, Math.ceil(batchBytes(batch) / bytesMax));
  if (count <= 1) return [batch];
  const size = Math.ceil(batch.rowCount / count);
  return Array.from({ length: Math.ceil(batch.rowCount / size) }, (_, i) => {
    const start = i * size;
    const end = Math.min(start + size, batch.rowCount);
    return takeRows(
      batch,
      Uint32Array.from({ length: end - start }, (_, row) => start + row),
    );
  });
}

function later(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
