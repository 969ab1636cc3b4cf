/** How many replicas, and where, when a load does not say: as the collection's properties do, else the database's. */
import type { Catalog } from "../../../runtime/meta/catalog.ts";
import type { CollectionDoc } from "../../../runtime/protocol/catalog.ts";
import { GROUPS_PROPERTY, REPLICAS_PROPERTY } from "./collection-properties.ts";
import { DATABASE_GROUPS_PROPERTY, DATABASE_REPLICAS_PROPERTY } from "./database-properties.ts";

export function loadDefaults(
  catalog: Catalog,
  collection: CollectionDoc,
): { replicaNumber: number; resourceGroups: string[] } {
  const { properties } = collection;
  const database = catalog.database(collection.database)?.properties ?? {};
  const groups = properties[GROUPS_PROPERTY] ?? database[DATABASE_GROUPS_PROPERTY] ?? "";
  return {
    replicaNumber: Number(properties[REPLICAS_PROPERTY] ?? database[DATABASE_REPLICAS_PROPERTY] ?? 1),
    resourceGroups: groups.split(",").flatMap((name) => (name.trim() === "" ? [] : [name.trim()])),
  };
}
