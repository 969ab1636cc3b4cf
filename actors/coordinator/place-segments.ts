/**
 * Where sealed segments are served: for every loaded collection, each segment of the manifests is put on query nodes,
 * and when it can be searched there the next query view names it. A view is replaced in one compare-and-set; delegators
 * switch to it at once and drop their own copies.
 *
 * The first view of a shard is published only when all its segments are loaded: its existence says "loaded".
 */
import type { ActorContext } from "../../runtime/actor.ts";
import { askNode } from "../../runtime/ask-node.ts";
import { asVdbError, isVdbError } from "../../runtime/errors.ts";
import { putDoc } from "../../runtime/meta/catalog.ts";
import type { MetaOp } from "../../runtime/meta/port.ts";
import {
  type CollectionDoc,
  type ManifestDoc,
  metaKeys,
  type SegmentDoc,
  type ViewDoc,
} from "../../runtime/protocol/catalog.ts";
import { loadSegments, releaseSegments } from "../../runtime/protocol/query.ts";
import type { Leadership } from "./leadership.ts";

const RETRY_AFTER_MS = 5_000;

/** Segments of one ask: few, so that each counts as loaded soon after it is, and a late one holds up few. */
const LOAD_TOGETHER = 4;

/** After a view stopped naming a segment on a node, reads that began under the old view may still want it there. */
const RELEASE_AFTER_MS = 15_000;

type Seen = readonly [CollectionDoc, ManifestDoc | undefined, ViewDoc | undefined, string];

interface Placement {
  nodeId: string;
  segments: SegmentDoc[];
}

export class SegmentPlacer {
  readonly #ctx: ActorContext;
  readonly #leadership: Leadership;
  readonly #onDone: () => void;
  /** `segment@node` to the indexes that it is loaded with: what this leader has been told by the node itself. */
  readonly #loaded = new Map<string, string>();
  readonly #loading = new Set<string>();
  readonly #restUntil = new Map<string, number>();
  /** Shards that were found as they should be, and from what: while that stands there is nothing to look at. */
  readonly #settled = new Map<string, Seen>();

  constructor(ctx: ActorContext, leadership: Leadership, onDone: () => void) {
    this.#ctx = ctx;
    this.#leadership = leadership;
    this.#onDone = onDone;
  }

  get loading(): number {
    return this.#loading.size;
  }

  /** One step towards every loaded shard's view; publishes what has become ready. */
  async step(): Promise<void> {
    const { catalog, nodes } = this.#ctx;
    const nodeIds = nodes.ofRole("query").map(({ nodeId }) => nodeId);
    this.#forget(nodeIds);
    let bytes: Map<string, number> | undefined;
    const ops: MetaOp[] = [];
    for (const collection of catalog.collections()) {
      if (collection.loaded === undefined) continue;
      for (const { vchannel } of collection.shards) {
        const seen: Seen = [collection, catalog.manifest(vchannel), catalog.view(vchannel), nodeIds.join()];
        if (this.#settled.get(vchannel)?.every((part, i) => part === seen[i])) continue;
        bytes ??= this.#bytesByNode(nodeIds);
        const { op, isSettled } = this.#stepShard(collection, vchannel, nodeIds, bytes);
        if (op !== null) ops.push(op);
        if (isSettled) this.#settled.set(vchannel, seen);
        else this.#settled.delete(vchannel);
      }
    }
    for (const op of ops) await this.#leadership.commit([op]);
  }

  /** What nodes said counts while they live and the segment is wanted there: afterwards they may have dropped it. */
  #forget(nodeIds: readonly string[]): void {
    const wanted = new Set<string>();
    for (const collection of this.#ctx.catalog.collections()) {
      if (collection.loaded === undefined) continue;
      for (const { vchannel } of collection.shards) {
        for (const { segmentId } of this.#ctx.catalog.manifest(vchannel)?.segments ?? []) wanted.add(segmentId);
      }
    }
    for (const key of this.#loaded.keys()) {
      const [segmentId = "", nodeId = ""] = key.split("@");
      if (!wanted.has(segmentId) || !nodeIds.includes(nodeId)) this.#loaded.delete(key);
    }
    const now = this.#ctx.clock.monotonic();
    for (const [key, until] of this.#restUntil) if (until <= now) this.#restUntil.delete(key);
  }

  #stepShard(
    collection: CollectionDoc,
    vchannel: string,
    nodeIds: readonly string[],
    bytes: Map<string, number>,
  ): { op: MetaOp | null; isSettled: boolean } {
    const manifest = this.#ctx.catalog.manifest(vchannel);
    if (manifest === undefined) return { op: null, isSettled: true };
    const view = this.#ctx.catalog.view(vchannel);
    const replicas = Math.min(collection.loaded?.replicaNumber ?? 1, nodeIds.length);
    const next: ViewDoc["segments"] = {};
    const placements = new Map<string, SegmentDoc[]>();
    for (const segment of manifest.segments) {
      const serving = (view?.segments[segment.segmentId] ?? []).filter((nodeId) => nodeIds.includes(nodeId));
      const ready = nodeIds.filter((nodeId) => serving.includes(nodeId) || this.#loaded.has(placeKey(segment, nodeId)));
      if (ready.length > 0) next[segment.segmentId] = ready;
      const extra = nodeIds
        .filter((nodeId) => !ready.includes(nodeId) && !this.#loading.has(placeKey(segment, nodeId)))
        .sort((a, b) => bytes.get(a)! - bytes.get(b)!);
      const underWay = nodeIds.filter((nodeId) => this.#loading.has(placeKey(segment, nodeId))).length;
      const targets = [
        ...extra.slice(0, Math.max(0, replicas - ready.length - underWay)),
        // Served, but not known to have the newest indexes: a node that has them says so at once.
        ...ready.filter((nodeId) => this.#loaded.get(placeKey(segment, nodeId)) !== indexVersion(segment)),
      ];
      for (const nodeId of targets) {
        if (this.#loading.has(placeKey(segment, nodeId))) continue;
        if (!ready.includes(nodeId)) bytes.set(nodeId, bytes.get(nodeId)! + segment.object.bytes);
        const segments = placements.get(nodeId);
        if (segments === undefined) placements.set(nodeId, [segment]);
        else segments.push(segment);
      }
    }
    for (const [nodeId, segments] of placements) this.#load(collection, manifest, { nodeId, segments });
    const op = this.#viewChange(vchannel, manifest, view, next);
    const isComplete = manifest.segments.every(
      ({ segmentId }) => (next[segmentId]?.length ?? 0) >= Math.max(1, replicas),
    );
    return { op, isSettled: op === null && placements.size === 0 && isComplete };
  }

  #viewChange(
    vchannel: string,
    manifest: ManifestDoc,
    view: ViewDoc | undefined,
    segments: ViewDoc["segments"],
  ): MetaOp | null {
    const isFirst = view === undefined;
    if (isFirst && manifest.segments.some(({ segmentId }) => segments[segmentId] === undefined)) return null;
    if (!isFirst && sameSegments(view.segments, segments)) return null;
    if (!isFirst) this.#releaseLater(view.segments, segments);
    const doc: ViewDoc = { version: (view?.version ?? 0) + 1, segments };
    return putDoc(this.#ctx.catalog.cache, metaKeys.view(vchannel), doc);
  }

  #load(collection: CollectionDoc, manifest: ManifestDoc, { nodeId, segments }: Placement): void {
    const now = this.#ctx.clock.monotonic();
    const due = segments.filter((segment) => (this.#restUntil.get(placeKey(segment, nodeId)) ?? 0) <= now);
    if (due.length === 0) return;
    for (let from = 0; from < due.length; from += LOAD_TOGETHER) {
      const part = due.slice(from, from + LOAD_TOGETHER);
      const keys = part.map((segment) => placeKey(segment, nodeId));
      for (const key of keys) this.#loading.add(key);
      void this.#askLoad(collection, manifest, { nodeId, segments: part }).finally(() => {
        for (const key of keys) this.#loading.delete(key);
        this.#onDone();
      });
    }
  }

  async #askLoad(collection: CollectionDoc, manifest: ManifestDoc, { nodeId, segments }: Placement): Promise<void> {
    const { bus, catalog, clock, logger, nodes } = this.#ctx;
    const segmentIds = segments.map(({ segmentId }) => segmentId);
    const fields = {
      collection: collection.name,
      vchannel: manifest.vchannel,
      segments: segmentIds.length,
      queryNode: nodeId,
    };
    try {
      const request = {
        collectionId: collection.collectionId,
        vchannel: manifest.vchannel,
        segmentIds,
        revision: catalog.cache.revisionOf(metaKeys.manifest(manifest.vchannel)),
      };
      await askNode(nodes, { role: "query", nodeId }, this.#leadership.signal, (signal) =>
        bus.ask(loadSegments, { nodeId }, request, { signal }),
      );
      for (const segment of segments) this.#loaded.set(placeKey(segment, nodeId), indexVersion(segment));
      logger.debug(fields, "segments loaded");
    } catch (error) {
      if (this.#leadership.signal.aborted) return;
      for (const segment of segments)
        this.#restUntil.set(placeKey(segment, nodeId), clock.monotonic() + RETRY_AFTER_MS);
      // A node that is gone or a collection that was dropped is news to nobody.
      const level = isVdbError(error, "node_not_found", "collection_not_found") ? "debug" : "warn";
      logger[level]({ ...fields, error: asVdbError(error).message }, "segments not loaded, will be tried again");
    }
  }

  /** Tells nodes to forget what the next view does not name on them, once reads under the old view have ended. */
  #releaseLater(before: ViewDoc["segments"], after: ViewDoc["segments"]): void {
    const dropped = new Map<string, string[]>();
    for (const [segmentId, nodeIds] of Object.entries(before)) {
      for (const nodeId of nodeIds) {
        if (after[segmentId]?.includes(nodeId) || !this.#ctx.nodes.has("query", nodeId)) continue;
        this.#loaded.delete(`${segmentId}@${nodeId}`);
        dropped.set(nodeId, [...(dropped.get(nodeId) ?? []), segmentId]);
      }
    }
    if (dropped.size === 0) return;
    this.#ctx.clock.timer(RELEASE_AFTER_MS, () => {
      for (const [nodeId, segmentIds] of dropped) this.#ctx.bus.tell(releaseSegments, { nodeId }, { segmentIds });
    });
  }

  /** What the views put on each node, in bytes of objects: stands for memory. */
  #bytesByNode(nodeIds: readonly string[]): Map<string, number> {
    const bytes = new Map<string, number>(nodeIds.map((nodeId) => [nodeId, 0]));
    for (const collection of this.#ctx.catalog.collections()) {
      for (const { vchannel } of collection.shards) {
        const view = this.#ctx.catalog.view(vchannel);
        for (const { segmentId, object } of this.#ctx.catalog.manifest(vchannel)?.segments ?? []) {
          for (const nodeId of view?.segments[segmentId] ?? []) {
            const sum = bytes.get(nodeId);
            if (sum !== undefined) bytes.set(nodeId, sum + object.bytes);
          }
        }
      }
    }
    return bytes;
  }
}

function placeKey(segment: SegmentDoc, nodeId: string): string {
  return `${segment.segmentId}@${nodeId}`;
}

function indexVersion(segment: SegmentDoc): string {
  return Object.entries(segment.indexes)
    .map(([fieldId, { indexId }]) => `${fieldId}:${indexId}`)
    .sort()
    .join(",");
}

function sameSegments(a: ViewDoc["segments"], b: ViewDoc["segments"]): boolean {
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length) return false;
  return keys.every((key) => {
    const [x = [], y = []] = [a[key], b[key]];
    return x.length === y.length && x.every((nodeId) => y.includes(nodeId));
  });
}
