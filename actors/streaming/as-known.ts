/**
 * A request is made by what its sender knows of the collection, which may be out of date: the name may stand for another
 * collection by now, and the schema may have changed. The owner of a shard knows better: a change is answered only when
 * the owners have heard of it, so what they let pass was true when the request began.
 */
import { VdbError } from "../../runtime/errors.ts";
import { type CalledBy, type Catalog, existingCollection, isCalled } from "../../runtime/meta/catalog.ts";
import type { CollectionDoc } from "../../runtime/protocol/catalog.ts";

export interface AsKnown {
  collectionId: number;
  called?: CalledBy | undefined;
  schemaVersion?: number | undefined;
}

/** Whether this node may have yet to hear of what the sender knows. */
export function mayBeBehind(catalog: Catalog, { collectionId, called, schemaVersion = 0 }: AsKnown): boolean {
  const collection = catalog.collection(collectionId);
  return collection === undefined || !isCalled(collection, called) || collection.schema.version < schemaVersion;
}

/** To be asked once this node knows at least what the sender does. @throws VdbError collection_not_found, schema_mismatch */
export function refuseOutdated(catalog: Catalog, { collectionId, called, schemaVersion }: AsKnown): CollectionDoc {
  const collection = existingCollection(catalog, collectionId, called);
  const { name, schema } = collection;
  if (schemaVersion === undefined || schemaVersion >= schema.version) return collection;
  throw new VdbError(
    "schema_mismatch",
    `collection schema mismatch[collection=${name}]: the request is of schema version ${schemaVersion}, it is ${schema.version} now`,
  );
}
