/**
 * Aliases: further names of a collection, unique among the names of its database. The collection's document lists them,
 * and each has a name key; both change in one batch, so no alias outlives its collection or points to two.
 */
import { VdbError } from "../../../runtime/errors.ts";
import { collectionNotFound, putDoc } from "../../../runtime/meta/catalog.ts";
import { type CollectionDoc, metaKeys } from "../../../runtime/protocol/catalog.ts";
import type { createAlias, dropAlias } from "../../../runtime/protocol/coordinator.ts";
import type { ChangeContext, Changed } from "./changes.ts";

type AliasTarget = (typeof createAlias)["request"]["_output"];
type DropAlias = (typeof dropAlias)["request"]["_output"];
type Alias = Omit<AliasTarget, "collectionId">;

export interface AliasChanges {
  createAlias(request: AliasTarget): Promise<Changed>;
  alterAlias(request: AliasTarget): Promise<Changed>;
  dropAlias(request: DropAlias): Promise<Changed>;
}

export function aliasChanges({ catalog, cache, commit, existing, put, remove }: ChangeContext): AliasChanges {
  /** The collection that has it; undefined when the name is free. @throws VdbError alias_collection_conflict */
  function holder({ database, alias }: Alias): CollectionDoc | undefined {
    const found = catalog.collectionByName(database, alias);
    if (found?.name !== alias) return found;
    throw new VdbError(
      "alias_collection_conflict",
      `alias and collection name conflict[database=${database}][alias=${alias}]`,
    );
  }

  /** It may have moved to another database since the proxy looked. */
  function existingIn(database: string, collectionId: number): CollectionDoc {
    const collection = existing(collectionId);
    if (collection.database !== database) throw collectionNotFound(database, collection.name);
    return collection;
  }

  return {
    createAlias: ({ collectionId, ...name }) =>
      commit(() => {
        const collection = existingIn(name.database, collectionId);
        const other = holder(name);
        if (other?.collectionId === collectionId) return null;
        if (other !== undefined) {
          throw new VdbError("alias_exists", `${name.alias} is alias to another collection: ${other.name}`);
        }
        const { aliases = [] } = collection;
        return [
          putDoc(cache, metaKeys.name(name.database, name.alias), { collectionId }),
          put({ ...collection, aliases: [...aliases, name.alias] }),
        ];
      }),

    alterAlias: ({ collectionId, ...name }) =>
      commit(() => {
        const collection = existingIn(name.database, collectionId);
        const other = holder(name);
        if (other === undefined) throw aliasNotFound(name);
        if (other.collectionId === collectionId) return null;
        const { aliases = [] } = collection;
        return [
          putDoc(cache, metaKeys.name(name.database, name.alias), { collectionId }),
          put(withoutAlias(other, name.alias)),
          put({ ...collection, aliases: [...aliases, name.alias] }),
        ];
      }),

    dropAlias: ({ collectionId, ...name }) =>
      commit(() => {
        const other = holder(name);
        if (other === undefined) return null;
        if (collectionId !== undefined && other.collectionId !== collectionId) throw aliasNotFound(name);
        return [...remove([metaKeys.name(name.database, name.alias)]), put(withoutAlias(other, name.alias))];
      }),
  };
}

function withoutAlias(collection: CollectionDoc, alias: string): CollectionDoc {
  const { aliases = [], ...rest } = collection;
  const left = aliases.filter((name) => name !== alias);
  return left.length === 0 ? rest : { ...rest, aliases: left };
}

function aliasNotFound({ database, alias }: Alias): VdbError {
  return new VdbError("alias_not_found", `alias not found[database=${database}][alias=${alias}]`);
}
