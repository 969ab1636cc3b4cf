/**
 * How much may be asked: rates of the cluster (settings `limits.*`) and of a collection (its properties), and how much of
 * the disk a collection or a database may take. Each proxy lets through its share of a rate: the rate divided by the
 * proxies that are alive. Nothing is limited unless it is set.
 */
import type { ActorContext } from "../../../runtime/actor.ts";
import type { Config } from "../../../runtime/config/schema.ts";
import { VdbError } from "../../../runtime/errors.ts";
import type { CollectionDoc } from "../../../runtime/protocol/catalog.ts";
import type { PublicOperation } from "../../../runtime/protocol/public.ts";
import * as api from "../../../runtime/protocol/public.ts";
import type { CollectionSchema } from "../../../runtime/schema.ts";
import { operationKind } from "../catalog/database-properties.ts";
import { textOf } from "../parse-body.ts";
import { databaseName } from "../resolve.ts";
import { approximateBytes, queryCount } from "./request-size.ts";
import { TokenBucket } from "./token-bucket.ts";

const MB = 1024 * 1024;

/** How long a look at what a collection has on disk is good for: it grows by flushes. */
const DISK_LOOK_MS = 1_000;

/** Said to who is refused by a rate of zero. */
const NEVER_RETRY_MS = 60_000;

const COLLECTION_DISK_PROPERTY = "collection.diskProtection.diskQuota.mb";
const DATABASE_DISK_PROPERTY = "database.diskQuota.mb";

interface Rate {
  setting: keyof Config["limits"];
  /** Of a collection. */
  property?: string;
  /** Tokens of a request: of those that a rate counts. */
  count: (body: unknown, schema: CollectionSchema | undefined) => number;
}

const one = () => 1;
const megabytes = (body: unknown) => approximateBytes(body) / MB;

const OF_KINDS: Readonly<Record<string, Rate>> = {
  collectionDDL: { setting: "collectionDdlPerSecond", count: one },
  partitionDDL: { setting: "partitionDdlPerSecond", count: one },
  index: { setting: "indexDdlPerSecond", count: one },
  flush: { setting: "flushesPerSecond", count: one },
  compaction: { setting: "compactionsPerSecond", count: one },
};

const SEARCHES: Rate = {
  setting: "searchVectorsPerSecond",
  property: "collection.searchRate.max.vps",
  count: queryCount,
};
const QUERIES: Rate = { setting: "queriesPerSecond", property: "collection.queryRate.max.qps", count: one };

const OF_OPERATIONS = new Map<string, Rate>([
  [
    api.insertEntities.subject,
    { setting: "insertMbPerSecond", property: "collection.insertRate.max.mb", count: megabytes },
  ],
  [
    api.upsertEntities.subject,
    { setting: "upsertMbPerSecond", property: "collection.upsertRate.max.mb", count: megabytes },
  ],
  [
    api.deleteEntities.subject,
    { setting: "deleteMbPerSecond", property: "collection.deleteRate.max.mb", count: megabytes },
  ],
  [api.searchEntities.subject, SEARCHES],
  [api.hybridSearchEntities.subject, SEARCHES],
  [api.advancedSearchEntities.subject, SEARCHES],
  [api.queryEntities.subject, QUERIES],
  [api.getEntities.subject, QUERIES],
]);

/** What takes disk. */
const GROWING = new Set<string>([api.insertEntities.subject, api.upsertEntities.subject, api.createImportJob.subject]);

export class Limits {
  readonly #actor: ActorContext;
  /** By name of the limit, of a collection's with its id. */
  readonly #buckets = new Map<string, TokenBucket>();
  readonly #disk = new Map<number, { bytes: number; until: number }>();
  #proxies: number | undefined;

  constructor(actor: ActorContext) {
    this.#actor = actor;
    actor.scope.use(
      actor.nodes.subscribe(() => {
        this.#proxies = undefined;
      }),
    );
    actor.scope.use(actor.catalog.cache.subscribe("collection.", () => this.#prune()));
  }

  /** Counts the request. @throws VdbError rate_limited with `details.retryAfterMs`; quota_exceeded */
  admit(operation: PublicOperation, body: unknown): void {
    const { subject } = operation;
    const rate = OF_OPERATIONS.get(subject) ?? OF_KINDS[operationKind(operation) ?? ""];
    const isGrowing = GROWING.has(subject);
    if (rate === undefined && !isGrowing) return;
    const { catalog } = this.#actor;
    const name = rate?.property !== undefined || isGrowing ? textOf(body, "collectionName") : undefined;
    const database = databaseName(textOf(body, "dbName"));
    const collection = name === undefined ? undefined : catalog.collectionByName(database, name);
    if (isGrowing && collection !== undefined) this.#refuseDiskUse(collection);
    if (rate !== undefined) this.#refuseBeyond(rate, body, collection);
  }

  /** The rates that are set, for the cluster and by collection. */
  inForce(): { limit: string; rate: number; dbName?: string; collectionName?: string }[] {
    const rates = [...new Set([...OF_OPERATIONS.values(), ...Object.values(OF_KINDS)])];
    const { catalog, config } = this.#actor;
    const ofCluster = rates
      .map(({ setting }) => ({ limit: `limits.${setting}`, rate: config.limits[setting] }))
      .filter(({ rate }) => rate > 0);
    const properties = [...rates.flatMap(({ property }) => property ?? []), COLLECTION_DISK_PROPERTY];
    const ofCollections = catalog.collections().flatMap((collection) =>
      properties.flatMap((limit) => {
        const rate = limitOf(collection.properties, limit);
        if (rate === undefined) return [];
        return [{ limit, rate, dbName: collection.database, collectionName: collection.name }];
      }),
    );
    const ofDatabases = catalog.databases().flatMap(({ name, properties: given }) => {
      const rate = limitOf(given, DATABASE_DISK_PROPERTY);
      return rate === undefined ? [] : [{ limit: DATABASE_DISK_PROPERTY, rate, dbName: name }];
    });
    return [...ofCluster, ...ofDatabases, ...ofCollections];
  }

  #refuseBeyond({ setting, property, count }: Rate, body: unknown, collection: CollectionDoc | undefined): void {
    const ofCluster = this.#actor.config.limits[setting];
    const ofCollection = property === undefined ? undefined : limitOf(collection?.properties ?? {}, property);
    if (ofCluster <= 0 && ofCollection === undefined) return;
    const applied: { bucket: TokenBucket; share: number }[] = [];
    const now = this.#actor.clock.monotonic();
    const tokens = count(body, collection?.schema);
    const apply = (limit: string, key: string, rate: number) => {
      const share = rate / this.#liveProxies();
      let bucket = this.#buckets.get(key);
      if (bucket === undefined) {
        bucket = new TokenBucket(share, now);
        this.#buckets.set(key, bucket);
      }
      const waitMs = bucket.wait(tokens, share, now);
      if (waitMs > 0) throw limited(limit, rate, waitMs);
      applied.push({ bucket, share });
    };
    if (ofCluster > 0) apply(`limits.${setting}`, setting, ofCluster);
    if (ofCollection !== undefined) apply(property!, `${property}:${collection!.collectionId}`, ofCollection);
    // One limit's tokens are not spent on what another refuses.
    for (const { bucket, share } of applied) bucket.take(tokens, share, now);
  }

  #refuseDiskUse({ collectionId, database, properties, name }: CollectionDoc): void {
    const ofCollection = limitOf(properties, COLLECTION_DISK_PROPERTY);
    if (ofCollection !== undefined && this.#diskBytes(collectionId) >= ofCollection * MB) {
      throw diskFull(COLLECTION_DISK_PROPERTY, ofCollection, `[collection=${name}]`);
    }
    const { catalog } = this.#actor;
    const ofDatabase = limitOf(catalog.database(database)?.properties ?? {}, DATABASE_DISK_PROPERTY);
    if (ofDatabase === undefined) return;
    let bytes = 0;
    for (const other of catalog.collections()) {
      if (other.database === database) bytes += this.#diskBytes(other.collectionId);
    }
    if (bytes >= ofDatabase * MB) throw diskFull(DATABASE_DISK_PROPERTY, ofDatabase, `[database=${database}]`);
  }

  /** In objects, indexes included. */
  #diskBytes(collectionId: number): number {
    const { catalog, clock } = this.#actor;
    const now = clock.monotonic();
    const known = this.#disk.get(collectionId);
    if (known !== undefined && known.until > now) return known.bytes;
    let bytes = 0;
    for (const { vchannel } of catalog.collection(collectionId)?.shards ?? []) {
      for (const segment of catalog.manifest(vchannel)?.segments ?? []) {
        bytes += segment.object.bytes;
        for (const { object } of Object.values(segment.indexes)) bytes += object.bytes;
      }
    }
    this.#disk.set(collectionId, { bytes, until: now + DISK_LOOK_MS });
    return bytes;
  }

  #liveProxies(): number {
    this.#proxies ??= Math.max(1, this.#actor.nodes.ofRole("proxy").length);
    return this.#proxies;
  }

  /** Of collections that are gone. */
  #prune(): void {
    const { catalog } = this.#actor;
    for (const id of this.#disk.keys()) if (catalog.collection(id) === undefined) this.#disk.delete(id);
    for (const key of this.#buckets.keys()) {
      const id = key.split(":", 2)[1];
      if (id !== undefined && catalog.collection(Number(id)) === undefined) this.#buckets.delete(key);
    }
  }
}

/** Of a property; undefined when there is none, or it says that there is no limit. */
function limitOf(properties: Readonly<Record<string, string>>, name: string): number | undefined {
  const text = properties[name];
  const value = text === undefined ? -1 : Number(text);
  return value >= 0 ? value : undefined;
}

function limited(limit: string, rate: number, waitMs: number): VdbError {
  const retryAfterMs = Number.isFinite(waitMs) ? waitMs : NEVER_RETRY_MS;
  return new VdbError(
    "rate_limited",
    `rate limit exceeded[limit=${limit}][rate=${rate}]: request is rejected by limiter, try again in ${retryAfterMs} ms, ask for less, or raise the limit`,
    { details: { limit, rate, retryAfterMs } },
  );
}

function diskFull(limit: string, quotaMb: number, what: string): VdbError {
  return new VdbError(
    "quota_exceeded",
    `quota exceeded[reason=disk quota exceeded, please allocate more resources][limit=${limit}][mb=${quotaMb}]${what}: delete and compact, or raise the quota`,
    { details: { limit, quotaMb } },
  );
}
