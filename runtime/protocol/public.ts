/**
 * The public API: Milvus RESTful v2. One table for both transports: `POST /v2/vectordb/entities/search` and a request to
 * `<prefix>.v2.entities.search` are the same operation with the same bodies, in JSON or MessagePack.
 *
 * Here a request is anything and a reply any object: each route (actors/proxy/routes) checks its body itself, so that
 * what is wrong gets Milvus's code instead of the bus's.
 */
import { z } from "zod";
import { ERRORS, type ErrorDetails, type ErrorKind, VdbError } from "../errors.ts";
import { type Operation, operation } from "./operation.ts";

/** `{ code: 0, data, cost?, topks? }`, or `{ code, message, details? }`. */
export type PublicReply = Record<string, unknown>;

const request = z.unknown();
const reply: z.ZodType<PublicReply> = z.record(z.string(), z.unknown());

const READ_TIMEOUT_MS = 30_000;
const WRITE_TIMEOUT_MS = 30_000;
/** A flush writes every shard's growing segment to objects before it answers. */
const FLUSH_TIMEOUT_MS = 120_000;

const read = { request, reply, timeoutMs: READ_TIMEOUT_MS, idempotent: true, isPublic: true } as const;
/** Whoever sends a write again with the same `requestId` has it applied once. */
const write = { request, reply, timeoutMs: WRITE_TIMEOUT_MS, idempotent: true, isPublic: true } as const;

export const listCollections = operation("v2.collections.list", read);
export const hasCollection = operation("v2.collections.has", read);
export const describeCollection = operation("v2.collections.describe", read);
export const getCollectionStats = operation("v2.collections.get_stats", read);
export const getLoadState = operation("v2.collections.get_load_state", read);
export const createCollection = operation("v2.collections.create", write);
export const dropCollection = operation("v2.collections.drop", write);
export const loadCollection = operation("v2.collections.load", write);
export const releaseCollection = operation("v2.collections.release", write);
export const flushCollection = operation("v2.collections.flush", { ...write, timeoutMs: FLUSH_TIMEOUT_MS });

export const compactCollection = operation("v2.collections.compact", write);
export const getCompactionState = operation("v2.collections.get_compaction_state", read);

export const listIndexes = operation("v2.indexes.list", read);
export const describeIndex = operation("v2.indexes.describe", read);
export const createIndex = operation("v2.indexes.create", write);
export const dropIndex = operation("v2.indexes.drop", write);

export const listPartitions = operation("v2.partitions.list", read);
export const hasPartition = operation("v2.partitions.has", read);

export const listResourceGroups = operation("v2.resource_groups.list", read);
export const describeResourceGroup = operation("v2.resource_groups.describe", read);
export const createResourceGroup = operation("v2.resource_groups.create", write);
export const alterResourceGroups = operation("v2.resource_groups.alter", write);
export const dropResourceGroup = operation("v2.resource_groups.drop", write);
export const transferNode = operation("v2.resource_groups.transfer_node", write);
export const transferReplica = operation("v2.resource_groups.transfer_replica", write);

export const insertEntities = operation("v2.entities.insert", write);
export const upsertEntities = operation("v2.entities.upsert", write);
/** Beside Milvus's: ids for rows that are to be inserted repeatably, although the database makes their ids. */
export const reserveIds = operation("v2.entities.reserve_ids", write);
export const deleteEntities = operation("v2.entities.delete", write);
export const queryEntities = operation("v2.entities.query", read);
export const getEntities = operation("v2.entities.get", read);
export const searchEntities = operation("v2.entities.search", read);

export type PublicOperation = Operation<`v2.${string}`, unknown, PublicReply>;

/** `v2.entities.search` is served at `/v2/vectordb/entities/search`. */
export function httpPath(operation: PublicOperation): string {
  return `/v2/vectordb/${operation.subject.slice("v2.".length).replaceAll(".", "/")}`;
}

/** Whether it takes longer than others by nature, so that the usual time limit of a request is not its own. */
export function isSlow(operation: PublicOperation): boolean {
  return operation.timeoutMs > Math.max(READ_TIMEOUT_MS, WRITE_TIMEOUT_MS);
}

/** An error as the body of a reply. */
export function errorBody(error: VdbError): PublicReply {
  const body: PublicReply = { code: error.code, message: error.message };
  if (error.details !== undefined) body.details = error.details;
  return body;
}

const KIND_OF_CODE = new Map<number, ErrorKind>(
  Object.entries(ERRORS).map(([kind, { code }]) => [code, kind as ErrorKind]),
);

/** The error that a reply's body carries, null when it carries none. A code of a newer server becomes `internal`. */
export function errorOfBody(body: PublicReply): VdbError | null {
  const { code, message, details } = body;
  if (code === 0) return null;
  const kind = KIND_OF_CODE.get(Number(code)) ?? "internal";
  return new VdbError(
    kind,
    String(message),
    typeof details === "object" && details !== null ? { details: details as ErrorDetails } : {},
  );
}
