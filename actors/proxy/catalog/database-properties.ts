/** Properties of a database: which there are, what they may be, and what they deny. */
import { VdbError } from "../../../runtime/errors.ts";
import type { Catalog } from "../../../runtime/meta/catalog.ts";
import type { PublicOperation } from "../../../runtime/protocol/public.ts";
import * as api from "../../../runtime/protocol/public.ts";
import { textOf } from "../parse-body.ts";
import { databaseName } from "../resolve.ts";
import { invalid } from "./field-spec.ts";
import {
  amount,
  checkProperties,
  flag,
  type GivenProperties,
  type PropertyCheck,
  text,
  timeZone,
  whole,
} from "./properties.ts";

export const DATABASE_REPLICAS_PROPERTY = "database.replica.number";
export const DATABASE_GROUPS_PROPERTY = "database.resource_groups";

const DENY = "database.force.deny.";

const CHECKS: Readonly<Record<string, PropertyCheck>> = {
  [DATABASE_REPLICAS_PROPERTY]: whole(1, 1024),
  [DATABASE_GROUPS_PROPERTY]: text,
  "database.diskQuota.mb": amount,
  "database.max.collections": whole(-1, 65_536),
  [`${DENY}writing`]: flag,
  [`${DENY}reading`]: flag,
  [`${DENY}ddl`]: flag,
  [`${DENY}collectionDDL`]: flag,
  [`${DENY}partitionDDL`]: flag,
  [`${DENY}index`]: flag,
  [`${DENY}flush`]: flag,
  [`${DENY}compaction`]: flag,
  timezone: timeZone,
  "cipher.enabled": (key, given) => {
    if (flag(key, given) === "false") return "false";
    throw invalid("cipher.enabled is not supported: encrypt the storage of the NATS server");
  },
  "cipher.key": text,
  "cipher.ezID": text,
};

/** @throws VdbError invalid_parameter */
export function databaseProperties(given: GivenProperties): Record<string, string> {
  return checkProperties(given, CHECKS);
}

/** Keys to forget. @throws VdbError invalid_parameter */
export function databasePropertyKeys(keys: readonly string[]): string[] {
  for (const key of keys) if (!Object.hasOwn(CHECKS, key)) throw invalid(`property ${key} is not supported`);
  return [...keys];
}

/** What operations are, as far as they can be denied. */
const OPERATIONS: Readonly<Record<string, readonly PublicOperation[]>> = {
  writing: [api.insertEntities, api.upsertEntities, api.deleteEntities, api.createImportJob],
  reading: [
    api.searchEntities,
    api.hybridSearchEntities,
    api.advancedSearchEntities,
    api.queryEntities,
    api.getEntities,
  ],
  collectionDDL: [
    api.createCollection,
    api.dropCollection,
    api.renameCollection,
    api.truncateCollection,
    api.loadCollection,
    api.refreshLoad,
    api.releaseCollection,
    api.alterCollectionProperties,
    api.dropCollectionProperties,
    api.addFunction,
    api.alterFunction,
    api.dropFunction,
    api.addField,
    api.alterField,
    api.dropField,
    api.renameField,
    api.createAlias,
    api.alterAlias,
    api.dropAlias,
  ],
  partitionDDL: [api.createPartition, api.dropPartition, api.loadPartitions, api.releasePartitions],
  index: [api.createIndex, api.dropIndex, api.alterIndexProperties, api.dropIndexProperties],
  flush: [api.flushCollection],
  compaction: [api.compactCollection],
};

const KINDS = new Map(
  Object.entries(OPERATIONS).flatMap(([kind, operations]) => operations.map(({ subject }) => [subject, kind] as const)),
);

/** What an operation is, as far as it can be denied or limited. */
export function operationKind({ subject }: PublicOperation): string | undefined {
  return KINDS.get(subject);
}

const DATA_KINDS = ["writing", "reading"];

/** @throws VdbError quota_exceeded when a property of the request's database, or of the one that it moves to, denies it */
export function refuseDenied(catalog: Catalog, operation: PublicOperation, body: unknown): void {
  const { subject } = operation;
  const kind = operationKind(operation);
  if (kind === undefined) return;
  const from = databaseName(textOf(body, "dbName"));
  const to = subject === api.renameCollection.subject ? (textOf(body, "newDbName") ?? from) : from;
  const kinds = DATA_KINDS.includes(kind) ? [kind] : [kind, "ddl"];
  for (const name of [from, to]) {
    const properties = catalog.database(name)?.properties ?? {};
    const denied = kinds.map((what) => `${DENY}${what}`).find((property) => properties[property] === "true");
    if (denied === undefined) continue;
    throw new VdbError(
      "quota_exceeded",
      `quota exceeded[reason=access has been disabled by the administrator]: database ${name} has ${denied}=true`,
      { details: { denied: kind } },
    );
  }
}
