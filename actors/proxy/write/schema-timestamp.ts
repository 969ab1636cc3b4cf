/** What clients know a collection's schema by: they read it with `describe`, and may send it along with their rows. */
import { VdbError } from "../../../runtime/errors.ts";
import type { CollectionDoc } from "../../../runtime/protocol/catalog.ts";

/** Grows with every change of the schema: the time of the collection's making, with its schema's version for a logical part. */
export function schemaTimestamp({ createdAt, schema }: CollectionDoc): bigint {
  return createdAt + BigInt(schema.version);
}

/**
 * Rows that were made by another schema are refused, when they say by which one they were.
 * @param given an integer or its text; none, or 0: they do not say
 * @throws VdbError schema_mismatch, invalid_parameter
 */
export function refuseStale(collection: CollectionDoc, given: unknown): void {
  if (given === undefined || given === null || given === "") return;
  if (!/^\d{1,20}$/.test(String(given))) {
    throw new VdbError("invalid_parameter", `schemaTimestamp must be an integer, got ${JSON.stringify(String(given))}`);
  }
  const timestamp = BigInt(given as string | number | bigint);
  if (timestamp === 0n || timestamp === schemaTimestamp(collection)) return;
  throw new VdbError("schema_mismatch", `collection schema mismatch[collection=${collection.name}]`);
}
