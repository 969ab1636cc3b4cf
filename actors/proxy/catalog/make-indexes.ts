/** Indexes asked for, made one after the other. */
import type { ActorContext } from "../../../runtime/actor.ts";
import type { Call } from "../../../runtime/bus/bus.ts";
import type { CollectionDoc } from "../../../runtime/protocol/catalog.ts";
import * as coordinator from "../../../runtime/protocol/coordinator.ts";
import { fieldByName } from "../../../runtime/schema.ts";
import { changeCatalog } from "../ask-coordinator.ts";
import type { IndexRequest } from "./index-request.ts";

/** The requests are checked against the collection's fields (index-request.ts). */
export async function makeIndexes(
  actor: ActorContext,
  collection: CollectionDoc,
  requests: readonly IndexRequest[],
  call: Call,
): Promise<void> {
  for (const { fieldName, ...index } of requests) {
    const { fieldId } = fieldByName(collection.schema, fieldName)!;
    const request = { collectionId: collection.collectionId, index: { ...index, fieldId } };
    await changeCatalog(actor, coordinator.createIndex, request, call);
  }
}
