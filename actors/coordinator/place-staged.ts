/**
 * Segments that compaction staged, on their way into the view: those of an entry are loaded beside what they replace, and
 * swapped for it when all of them are served. An entry whose segments query nodes cannot take holds memory in vain and
 * keeps its inputs from every other compaction: when nothing has come of it for a while it is hopeless.
 *
 * Owns     how long each entry has not got on, as far as this leader has seen it
 */
import type { ActorContext } from "../../runtime/actor.ts";
import { hasIndexFile } from "../../runtime/index-files.ts";
import { withSwapped } from "../../runtime/meta/manifest.ts";
import type { CollectionDoc, ManifestDoc, SegmentDoc, StagedDoc, ViewDoc } from "../../runtime/protocol/catalog.ts";
import type { CopyPlan } from "./plan-placement.ts";

/** Longer than a query node takes to be started again and to load what it had. */
const PATIENCE_MS = 300_000;

/** When one has been given up, the others may take the room that it had: longer than query nodes keep what nobody wants. */
const ROOM_MADE_MS = 60_000;

/** How a segment is placed, and why it is not where it should be: empty when it is, or on its way. */
export interface Placed extends CopyPlan {
  obstacle: string;
}

export interface Swap {
  manifest: ManifestDoc;
  segments: ViewDoc["segments"];
  /** Segments that no view names any more. */
  dropped: string[];
}

/** An entry that waits in vain. */
export interface Hopeless {
  entry: StagedDoc;
  reason: string;
}

interface Wait {
  sinceMs: number;
  /** Copies that were there at once, at most: one more, and it gets on. */
  copies: number;
}

export class StagedSegments {
  readonly #ctx: Pick<ActorContext, "clock" | "config">;
  /** By the first segment that is replaced: one entry at most has it. */
  readonly #waits = new Map<string, Wait>();

  constructor(ctx: Pick<ActorContext, "clock" | "config">) {
    this.#ctx = ctx;
  }

  /** Has them loaded; the first of them that are served everywhere, with what they replace, or one that never will be. */
  step(
    shard: {
      collection: CollectionDoc;
      manifest: ManifestDoc;
      view: ViewDoc | undefined;
      /** Ids of the partitions whose segments are to be served. */
      served: ReadonlySet<number>;
    },
    next: ViewDoc["segments"],
    place: (segment: SegmentDoc) => Placed,
  ): { swap?: Swap; hopeless?: Hopeless } {
    const { collection, manifest, view, served } = shard;
    // Rows that no view names are read from where they are until it does.
    if (view === undefined) return {};
    let hopeless: Hopeless | undefined;
    for (const entry of manifest.staged) {
      if (!isReplacing(manifest, entry)) {
        return { swap: { manifest: withSwapped(manifest, entry), segments: next, dropped: [] } };
      }
      if (!hasAllIndexes(entry, collection, this.#ctx.config.coordinator.indexRowsMin)) {
        this.#getsOn(entry);
        continue;
      }
      const replaced = manifest.segments.find(({ segmentId }) => segmentId === entry.replaces[0]);
      if (replaced !== undefined && !served.has(replaced.partitionId)) {
        return { swap: { manifest: withSwapped(manifest, entry), segments: next, dropped: [] } };
      }
      const plans = entry.segments.map((segment) => ({ segment, plan: place(segment) }));
      const isServed = plans.every(({ plan }) => plan.isComplete && plan.serve.length > 0);
      if (!isServed) {
        const reason = this.#inVain(
          entry,
          plans.map(({ plan }) => plan),
        );
        if (reason !== undefined) hopeless ??= { entry, reason };
        continue;
      }
      this.#getsOn(entry);
      if (!entry.replaces.every((segmentId) => view.segments[segmentId] !== undefined)) continue;
      const segments = { ...next };
      for (const segmentId of entry.replaces) delete segments[segmentId];
      for (const { segment, plan } of plans) segments[segment.segmentId] = plan.serve;
      return { swap: { manifest: withSwapped(manifest, entry), segments, dropped: entry.replaces } };
    }
    return hopeless === undefined ? {} : { hopeless };
  }

  /** One was given up: no other one is before it could take the room that there is now. */
  gaveUp(): void {
    const earliest = this.#ctx.clock.monotonic() - PATIENCE_MS + ROOM_MADE_MS;
    for (const wait of this.#waits.values()) wait.sinceMs = Math.max(wait.sinceMs, earliest);
  }

  /** What is said of entries that are gone counts no more. */
  forget(isReplaced: (segmentId: string) => boolean): void {
    for (const segmentId of this.#waits.keys()) if (!isReplaced(segmentId)) this.#waits.delete(segmentId);
  }

  /** It waits for nothing that query nodes lack. */
  #getsOn({ replaces }: StagedDoc): void {
    this.#waits.delete(replaces[0]!);
  }

  /** Why, when it has waited for too long; an entry whose segments are all on their way does not wait. */
  #inVain(entry: StagedDoc, plans: readonly Placed[]): string | undefined {
    const [key] = entry.replaces as [string];
    const reason = plans.find(({ obstacle }) => obstacle !== "")?.obstacle;
    if (reason === undefined) {
      this.#getsOn(entry);
      return undefined;
    }
    const now = this.#ctx.clock.monotonic();
    const copies = plans.reduce((sum, { serve }) => sum + serve.length, 0);
    const wait = this.#waits.get(key);
    if (wait === undefined || copies > wait.copies) {
      this.#waits.set(key, { sinceMs: now, copies });
      return undefined;
    }
    return now - wait.sinceMs >= PATIENCE_MS ? reason : undefined;
  }
}

export function hasAllIndexes(
  { segments }: Pick<StagedDoc, "segments">,
  collection: CollectionDoc,
  indexRowsMin: number,
): boolean {
  return segments.every(
    ({ rowCount, indexes }) =>
      rowCount < indexRowsMin ||
      collection.indexes.every(
        (index) => !hasIndexFile(collection, index) || indexes[String(index.fieldId)]?.indexId === index.indexId,
      ),
  );
}

/** Whether all that it replaces is there. */
function isReplacing(manifest: ManifestDoc, { replaces }: StagedDoc): boolean {
  const present = new Set(manifest.segments.map(({ segmentId }) => segmentId));
  return replaces.every((segmentId) => present.has(segmentId));
}
