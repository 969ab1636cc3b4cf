/** The time zone of a collection's Timestamptz values: its own property, else its database's, else UTC. */
import type { Catalog } from "../../runtime/meta/catalog.ts";
import type { CollectionDoc } from "../../runtime/protocol/catalog.ts";

const PROPERTY = "timezone";

export function timeZoneOf(
  catalog: Pick<Catalog, "database">,
  { properties, database }: Pick<CollectionDoc, "properties" | "database">,
): string {
  return properties[PROPERTY] ?? catalog.database(database)?.properties[PROPERTY] ?? "UTC";
}
