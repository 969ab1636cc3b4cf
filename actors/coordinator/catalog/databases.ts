/**
 * Databases: namespaces of collections, with properties. The default one is always there; it has a document once it has
 * properties.
 */
import { isDeepStrictEqual } from "node:util";
import { VdbError } from "../../../runtime/errors.ts";
import type { MetaCache } from "../../../runtime/meta/cache.ts";
import {
  type Catalog,
  DEFAULT_DATABASE,
  DEFAULT_DATABASE_ID,
  guardDoc,
  putDoc,
} from "../../../runtime/meta/catalog.ts";
import type { MetaOp } from "../../../runtime/meta/port.ts";
import { type DatabaseDoc, metaKeys } from "../../../runtime/protocol/catalog.ts";
import type { alterDatabase, createDatabase, dropDatabase } from "../../../runtime/protocol/coordinator.ts";
import { alteredProperties, type ChangeContext, type Changed } from "./changes.ts";

/** The default one included. */
const DATABASES_MAX = 64;

/** Of a name of a database, not of a collection: how many collections it may have. */
const COLLECTIONS_PROPERTY = "database.max.collections";

type CreateDatabase = (typeof createDatabase)["request"]["_output"];
type DropDatabase = (typeof dropDatabase)["request"]["_output"];
type AlterDatabase = (typeof alterDatabase)["request"]["_output"];

export interface DatabaseChanges {
  createDatabase(request: CreateDatabase): Promise<Changed>;
  dropDatabase(request: DropDatabase): Promise<Changed>;
  alterDatabase(request: AlterDatabase): Promise<Changed>;
}

export function databaseChanges(changes: ChangeContext): DatabaseChanges {
  const { catalog, cache, windows, commit, commitFirst, remove } = changes;
  return {
    createDatabase: ({ databaseId, name, properties }) =>
      commit(async () => {
        const other = catalog.database(name);
        if (other?.databaseId === databaseId) return null;
        if (other !== undefined || name === DEFAULT_DATABASE) {
          throw new VdbError("unexpected", `database already exist: ${name}`);
        }
        const count = catalog.databases().filter((database) => database.name !== DEFAULT_DATABASE).length + 1;
        if (count >= DATABASES_MAX) {
          throw new VdbError("database_limit", `exceeded the limit number of database[limit=${DATABASES_MAX}]`);
        }
        const createdAt = await windows.timestamps.allocate(1);
        const doc: DatabaseDoc = { databaseId, name, properties, createdAt };
        return [putDoc(cache, metaKeys.database(name), doc)];
      }),

    dropDatabase: ({ name, databaseId }) =>
      commit(async () => {
        if (name === DEFAULT_DATABASE) throw new VdbError("unexpected", "can not drop default database");
        // Creating a collection is guarded by the database's key. Once that key is rewritten, a creation still on its
        // way, unanswered, has either been stored, and counts, or never will be.
        for (;;) {
          const doc = catalog.database(name);
          if (doc === undefined || doc.databaseId !== (databaseId ?? doc.databaseId)) return null;
          if (await commitFirst([putDoc(cache, metaKeys.database(name), doc)])) break;
        }
        if (catalog.collections().some(({ database }) => database === name)) {
          throw new VdbError(
            "unexpected",
            `database:${name} not empty, must drop all collections before drop database`,
          );
        }
        return remove([metaKeys.database(name)]);
      }),

    alterDatabase: ({ name, set, remove: removed }) =>
      commit(async () => {
        requireDatabase(catalog, name);
        const doc =
          catalog.database(name) ??
          ({ databaseId: DEFAULT_DATABASE_ID, name, properties: {}, createdAt: 0n } satisfies DatabaseDoc);
        const properties = alteredProperties(doc.properties, set, removed);
        if (isDeepStrictEqual(doc.properties, properties)) return null;
        return [putDoc(cache, metaKeys.database(name), { ...doc, properties })];
      }),
  };
}

/** @throws VdbError database_not_found */
export function requireDatabase(catalog: Catalog, name: string): void {
  if (name === DEFAULT_DATABASE || catalog.database(name) !== undefined) return;
  throw new VdbError("database_not_found", `database not found[database=${name}]`);
}

/** Guards a batch that adds to a database by the database's existence. */
export function guardDatabase(cache: MetaCache, name: string): MetaOp[] {
  return name === DEFAULT_DATABASE ? [] : [guardDoc(cache, metaKeys.database(name))];
}

/** @throws VdbError collection_limit */
export function requireRoomIn(catalog: Catalog, name: string): void {
  const limit = Number(catalog.database(name)?.properties[COLLECTIONS_PROPERTY] ?? -1);
  if (limit < 0) return;
  const count = catalog.collections().filter(({ database }) => database === name).length;
  if (count < limit) return;
  throw new VdbError("collection_limit", `exceeded the limit number of collections[database=${name}][limit=${limit}]`);
}
