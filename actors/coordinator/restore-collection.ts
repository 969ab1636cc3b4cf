/**
 * Enters a restored collection: whoever restores it has written the objects of its segments beforehand, under a pin.
 * One guarded batch makes name, collection and manifests, so the collection is there whole or not at all.
 *
 * The objects are named `segment/<vchannel>/0/...`: no owner of a channel has term 0, so the collector takes those that
 * no manifest names (after an abandoned restore, or a later compaction) for garbage at once. It must spare those that
 * this step is about to name: `mayName` covers them, from before the pin is checked until the manifests are in the
 * cache.
 */
import type { ActorContext } from "../../runtime/actor.ts";
import { VdbError } from "../../runtime/errors.ts";
import { DEFAULT_DATABASE, putDoc } from "../../runtime/meta/catalog.ts";
import type { MetaOp } from "../../runtime/meta/port.ts";
import { isHeld } from "../../runtime/pins.ts";
import { type CollectionDoc, type ManifestDoc, metaKeys, type SegmentDoc } from "../../runtime/protocol/catalog.ts";
import { type RestoreCollection, restoredFolder } from "../../runtime/protocol/coordinator.ts";
import { requireRoom } from "./catalog/collections.ts";
import { guardDatabase } from "./catalog/databases.ts";
import { newManifest, placeShards } from "./catalog/shards.ts";
import type { CatalogChanges } from "./change-catalog.ts";
import type { Window } from "./window.ts";

export class CollectionRestorer {
  readonly #ctx: ActorContext;
  readonly #commit: CatalogChanges["commit"];
  readonly #windows: { timestamps: Window; ids: Window };
  readonly #entering = new Set<string>();

  constructor(ctx: ActorContext, commit: CatalogChanges["commit"], windows: { timestamps: Window; ids: Window }) {
    this.#ctx = ctx;
    this.#commit = commit;
    this.#windows = windows;
  }

  /** Whether a manifest is about to name the object. */
  mayName(objectName: string): boolean {
    return [...this.#entering].some((folder) => objectName.startsWith(folder));
  }

  /** Repeating the request after it has succeeded is fine. @throws VdbError unexpected (the name is taken, the pin was lost) */
  async enter(request: RestoreCollection): Promise<{ revision: number }> {
    const folders = request.shards.map((_, n) => restoredFolder(request.collectionId, n));
    requireOwnObjects(request, folders);
    for (const folder of folders) this.#entering.add(folder);
    try {
      return await this.#enter(request);
    } finally {
      for (const folder of folders) this.#entering.delete(folder);
    }
  }

  async #enter(request: RestoreCollection): Promise<{ revision: number }> {
    const { catalog, leases } = this.#ctx;
    const { cache } = catalog;
    if (!(await isHeld(leases, request.pin))) {
      throw new VdbError("unexpected", "the restore lost its hold on the objects that it wrote: start it again");
    }
    if (request.autoIdMax !== undefined) await this.#windows.ids.raise(BigInt(request.autoIdMax) + 1n);
    return this.#commit(async () => {
      if (catalog.collection(request.collectionId) !== undefined) return null;
      const { database, name } = request;
      if (cache.revisionOf(metaKeys.name(database, name)) > 0) {
        throw new VdbError("unexpected", `a collection or alias ${name} exists already: nothing is restored over it`);
      }
      requireRoom(catalog, database);
      const collection = await this.#newCollection(request);
      const manifests = await Promise.all(
        collection.shards.map(async (shard, n) =>
          withSegments(await newManifest(this.#ctx, request.collectionId, shard), request, n),
        ),
      );
      const names = [name, ...(collection.aliases ?? [])];
      return [
        ...names.map((each) => putDoc(cache, metaKeys.name(database, each), { collectionId: request.collectionId })),
        putDoc(cache, metaKeys.collection(request.collectionId), collection),
        ...manifests.map((manifest) => putDoc(cache, metaKeys.manifest(manifest.vchannel), manifest)),
        ...(await this.#databaseOf(request)),
      ];
    });
  }

  /** A database that is not there is made with the first collection that is restored into it. */
  async #databaseOf({ database }: RestoreCollection): Promise<MetaOp[]> {
    const { cache } = this.#ctx.catalog;
    if (database === DEFAULT_DATABASE || this.#ctx.catalog.database(database) !== undefined) {
      return guardDatabase(cache, database);
    }
    const { timestamps, ids } = this.#windows;
    const databaseId = Number(await ids.allocate(1));
    const doc = { databaseId, name: database, properties: {}, createdAt: await timestamps.allocate(1) };
    return [putDoc(cache, metaKeys.database(database), doc)];
  }

  async #newCollection(request: RestoreCollection): Promise<CollectionDoc> {
    const { timestamps, ids } = this.#windows;
    const { collectionId, database, name, loaded } = request;
    const { cache } = this.#ctx.catalog;
    const isFree = (alias: string) => alias !== name && cache.revisionOf(metaKeys.name(database, alias)) === 0;
    const aliases = (request.aliases ?? []).filter(isFree);
    const indexes: CollectionDoc["indexes"] = [];
    for (const index of request.indexes) indexes.push({ ...index, indexId: Number(await ids.allocate(1)) });
    return {
      collectionId,
      database,
      name,
      ...(aliases.length === 0 ? {} : { aliases }),
      description: request.description,
      schema: request.schema,
      partitions: request.partitions,
      shards: placeShards(this.#ctx, collectionId, request.shards.length),
      indexes,
      ...(loaded === undefined ? {} : { loaded }),
      consistencyLevel: request.consistencyLevel,
      properties: request.properties,
      createdAt: await timestamps.allocate(1),
    };
  }
}

function withSegments(manifest: ManifestDoc, request: RestoreCollection, shard: number): ManifestDoc {
  const segments = request.shards[shard]!.segments.map(
    (segment): SegmentDoc => ({ ...segment, indexes: {}, deletesSeq: manifest.deltaSeq }),
  );
  return { ...manifest, segments, settledTs: request.ts };
}

/** Only objects that belong to nobody else may be named: another's would be removed with this collection. */
function requireOwnObjects(request: RestoreCollection, folders: readonly string[]): void {
  request.shards.forEach(({ segments }, shard) => {
    for (const { object, maxTs } of segments) {
      if (!object.name.startsWith(folders[shard]!)) {
        throw new VdbError("invalid_parameter", `object ${object.name} is not below ${folders[shard]}`);
      }
      if (maxTs > request.ts)
        throw new VdbError("invalid_parameter", `a segment has rows of ${maxTs}, after ${request.ts}`);
    }
  });
}
