/** Changes of the catalogue that users ask for, as the leader makes them: a module each in catalog/, by topic. */
import type { ActorContext } from "../../runtime/actor.ts";
import { type AccessChanges, accessChanges } from "./catalog/access.ts";
import { type AliasChanges, aliasChanges } from "./catalog/aliases.ts";
import { type ChangeContext, changeContext, type Windows } from "./catalog/changes.ts";
import { type CollectionChanges, collectionChanges } from "./catalog/collections.ts";
import { type DatabaseChanges, databaseChanges } from "./catalog/databases.ts";
import { type FieldChanges, fieldChanges } from "./catalog/fields.ts";
import { type IndexChanges, indexChanges } from "./catalog/indexes.ts";
import { type LoadChanges, loadChanges } from "./catalog/load.ts";
import { type PartitionChanges, partitionChanges } from "./catalog/partitions.ts";
import type { Leadership } from "./leadership.ts";

export interface CatalogChanges
  extends DatabaseChanges,
    CollectionChanges,
    AliasChanges,
    PartitionChanges,
    FieldChanges,
    IndexChanges,
    LoadChanges,
    AccessChanges {
  /** For others that change the catalogue: in turn with these. */
  readonly commit: ChangeContext["commit"];
}

export function catalogChanges(ctx: ActorContext, leadership: Leadership, windows: Windows): CatalogChanges {
  const changes = changeContext(ctx, leadership, windows);
  return {
    commit: changes.commit,
    ...databaseChanges(changes),
    ...collectionChanges(changes),
    ...aliasChanges(changes),
    ...partitionChanges(changes),
    ...fieldChanges(changes),
    ...indexChanges(changes),
    ...loadChanges(changes),
    ...accessChanges(changes),
  };
}
