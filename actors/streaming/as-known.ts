/**
 * A request is made by what its sender knows of the collection, which may be out of date: the name may stand for another
 * collection by now, and the schema may have changed. The owner of a shard knows better: a change is answered only when
 * the owners have heard of it, so what they let pass was true when the request began.
 */
import { VdbError } from "../../runtime/errors.ts";
import { type Catalog, collectionNotFound, existingCollection } from "../../runtime/meta/catalog.ts";
import type { CollectionDoc } from "../../runtime/protocol/catalog.ts";

export interface AsKnown {
  collectionId: number;
  database?: string | undefined;
  collectionName?: string | undefined;
  schemaVersion?: number | undefined;
}

/** Whether the sender calls the collection as this node does. If not, one of the two has yet to hear of a change. */
export function isCalled(collection: CollectionDoc, { database, collectionName }: AsKnown): boolean {
  return (
    (database === undefined || database === collection.database) &&
    (collectionName === undefined || collectionName === collection.name)
  );
}

/** To be asked once this node knows at least what the sender does. @throws VdbError collection_not_found */
export function refuseOtherName(catalog: Catalog, asked: AsKnown): CollectionDoc {
  const collection = existingCollection(catalog, asked.collectionId);
  if (isCalled(collection, asked)) return collection;
  throw collectionNotFound(asked.database ?? collection.database, asked.collectionName ?? collection.name);
}

/** As refuseOtherName. @throws VdbError schema_mismatch */
export function refuseOldSchema({ name, schema }: CollectionDoc, { schemaVersion }: AsKnown): void {
  if (schemaVersion === undefined || schemaVersion >= schema.version) return;
  throw new VdbError(
    "schema_mismatch",
    `collection schema mismatch[collection=${name}]: the request is of schema version ${schemaVersion}, it is ${schema.version} now`,
  );
}
