/** What several RPCs' messages have in common. */
import { VdbError } from "../../../../runtime/errors.ts";
import type { PublicReply } from "../../../../runtime/protocol/public.ts";
import type { GrpcCall, GrpcFront } from "../rpc.ts";

export interface KeyValue {
  key: string;
  value: string;
}

/** A request that names a collection. */
export interface NamedCollection {
  dbName: string;
  collectionName: string;
  /** Stands for a name that is missing; "0": none. */
  collectionID?: string;
}

/** The collection that is meant, as the public operations name it. @throws VdbError collection_not_found (an unknown id) */
export async function collectionOf(
  { actor }: GrpcFront,
  request: NamedCollection,
  call: GrpcCall,
): Promise<{ dbName: string; collectionName: string }> {
  const { dbName, collectionName, collectionID = "0" } = request;
  if (collectionName !== "" || collectionID === "0") return { dbName, collectionName };
  const { catalog } = actor;
  // It may have been made through another proxy a moment ago.
  if (catalog.collection(Number(collectionID)) === undefined) await catalog.cache.sync(call.deadline);
  const found = catalog.collection(Number(collectionID));
  if (found !== undefined) return { dbName: found.database, collectionName: found.name };
  throw new VdbError("collection_not_found", `can't find collection[database=${dbName}][collection=${collectionID}]`);
}

export function recordOf(pairs: readonly KeyValue[]): Record<string, string> {
  return Object.fromEntries(pairs.map(({ key, value }) => [key, value]));
}

export function pairsOf(values: Readonly<Record<string, unknown>>): KeyValue[] {
  return Object.entries(values).map(([key, value]) => ({ key, value: String(value) }));
}

/** What a reply is about. */
export function dataOf<T>(reply: PublicReply): T {
  return reply.data as T;
}

/** Milliseconds since 1970 of a timestamp as decimal text. */
export function physicalOf(timestamp: string): string {
  return String(BigInt(timestamp) >> 18n);
}

/** Text that is given is said, text that is empty is not. */
export function given(text: string): string | undefined {
  return text === "" ? undefined : text;
}

const FNV_OFFSET = 0xcbf29ce484222325n;
const FNV_PRIME = 0x100000001b3n;

/**
 * A number for what has a ULID here and an int64 in Milvus: segments and nodes. The same always, positive, and of a few
 * thousand ids no two are alike but by a chance of one in a million million.
 */
export function numberOf(id: string): string {
  let hash = FNV_OFFSET;
  for (const byte of Buffer.from(id)) hash = ((hash ^ BigInt(byte)) * FNV_PRIME) & 0xffffffffffffffffn;
  return String(hash >> 1n);
}
