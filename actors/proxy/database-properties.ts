/** Properties of a database: which there are, what they may be, and what they deny. */
import { VdbError } from "../../runtime/errors.ts";
import type { Catalog } from "../../runtime/meta/catalog.ts";
import type { PublicOperation } from "../../runtime/protocol/public.ts";
import { invalid } from "./field-spec.ts";
import { textOf } from "./parse-body.ts";
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
import { databaseName } from "./resolve.ts";

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

/** What of an operation can be denied, by its subject. */
const KINDS: Readonly<Record<string, string>> = {
  "v2.entities.insert": "writing",
  "v2.entities.upsert": "writing",
  "v2.entities.delete": "writing",
  "v2.jobs.import.create": "writing",
  "v2.entities.search": "reading",
  "v2.entities.hybrid_search": "reading",
  "v2.entities.advanced_search": "reading",
  "v2.entities.query": "reading",
  "v2.entities.get": "reading",
  "v2.collections.create": "collectionDDL",
  "v2.collections.drop": "collectionDDL",
  "v2.collections.rename": "collectionDDL",
  "v2.collections.truncate": "collectionDDL",
  "v2.collections.load": "collectionDDL",
  "v2.collections.refresh_load": "collectionDDL",
  "v2.collections.release": "collectionDDL",
  "v2.collections.alter_properties": "collectionDDL",
  "v2.collections.drop_properties": "collectionDDL",
  "v2.collections.add_function": "collectionDDL",
  "v2.collections.alter_function": "collectionDDL",
  "v2.collections.drop_function": "collectionDDL",
  "v2.collections.fields.add": "collectionDDL",
  "v2.collections.fields.alter_properties": "collectionDDL",
  "v2.collections.fields.drop": "collectionDDL",
  "v2.collections.fields.rename": "collectionDDL",
  "v2.aliases.create": "collectionDDL",
  "v2.aliases.alter": "collectionDDL",
  "v2.aliases.drop": "collectionDDL",
  "v2.partitions.create": "partitionDDL",
  "v2.partitions.drop": "partitionDDL",
  "v2.partitions.load": "partitionDDL",
  "v2.partitions.release": "partitionDDL",
  "v2.indexes.create": "index",
  "v2.indexes.drop": "index",
  "v2.indexes.alter_properties": "index",
  "v2.indexes.drop_properties": "index",
  "v2.collections.flush": "flush",
  "v2.collections.compact": "compaction",
};

const DATA_KINDS = ["writing", "reading"];

/** @throws VdbError quota_exceeded when a property of the request's database, or of the one that it moves to, denies it */
export function refuseDenied(catalog: Catalog, { subject }: PublicOperation, body: unknown): void {
  const kind = KINDS[subject];
  if (kind === undefined) return;
  const from = databaseName(textOf(body, "dbName"));
  const to = subject === "v2.collections.rename" ? (textOf(body, "newDbName") ?? from) : from;
  const isDenied = (name: string) => {
    const properties = catalog.database(name)?.properties ?? {};
    const isSaid = (what: string) => properties[`${DENY}${what}`] === "true";
    return isSaid(kind) || (!DATA_KINDS.includes(kind) && isSaid("ddl"));
  };
  if (!isDenied(from) && !isDenied(to)) return;
  throw new VdbError("quota_exceeded", "quota exceeded[reason=access has been disabled by the administrator]", {
    details: { denied: kind },
  });
}
