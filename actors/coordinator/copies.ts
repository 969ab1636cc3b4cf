/** Which query node has which segment, or is loading it, or failed to: what this leader has been told by the nodes. */
import type { Clock } from "../../runtime/clock.ts";
import type { VdbError } from "../../runtime/errors.ts";
import type { CollectionDoc, SegmentDoc } from "../../runtime/protocol/catalog.ts";

/** A load that failed is not tried again on the same node before this. */
const RETRY_AFTER_MS = 5_000;

interface Copy {
  /** What it is loaded as (versionOf); null: it is not loaded. */
  version: string | null;
  isLoading: boolean;
  restUntil: number;
  failure: string;
  /** The node said it, and of something that does not pass by itself, as an outage does. */
  isRefusal: boolean;
}

export class Copies {
  readonly #clock: Clock;
  /** By segment, then node. */
  readonly #copies = new Map<string, Map<string, Copy>>();
  readonly #loadingBy = new Map<string, number>();
  #loading = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get loadingCount(): number {
    return this.#loading;
  }

  loadingBy(nodeId: string): number {
    return this.#loadingBy.get(nodeId) ?? 0;
  }

  begin(segmentId: string, nodeId: string): void {
    this.#copy(segmentId, nodeId).isLoading = true;
    this.#count(nodeId, 1);
  }

  end(segmentId: string, nodeId: string): void {
    this.#copy(segmentId, nodeId).isLoading = false;
    this.#count(nodeId, -1);
  }

  loaded(segmentId: string, nodeId: string, version: string): void {
    Object.assign(this.#copy(segmentId, nodeId), { version, restUntil: 0 });
    for (const copy of this.#copies.get(segmentId)!.values()) copy.failure = "";
  }

  failed(segmentId: string, nodeId: string, error: VdbError): void {
    const restUntil = this.#clock.monotonic() + RETRY_AFTER_MS;
    const isRefusal = !error.retriable && error.kind !== "canceled";
    Object.assign(this.#copy(segmentId, nodeId), { restUntil, failure: error.message, isRefusal });
  }

  /** It is no longer to be there. */
  drop(segmentId: string, nodeId: string): void {
    const copy = this.#copies.get(segmentId)?.get(nodeId);
    if (copy !== undefined) copy.version = null;
  }

  isLoading(segmentId: string, nodeId: string): boolean {
    return this.#copies.get(segmentId)?.get(nodeId)?.isLoading === true;
  }

  /** Without a node: on any. Without a version: whatever it is loaded as. */
  isLoaded(segmentId: string, nodeId?: string, version?: string): boolean {
    if (nodeId === undefined) return this.loadedOn(segmentId).length > 0;
    const loaded = this.#copies.get(segmentId)?.get(nodeId)?.version ?? null;
    return loaded !== null && (version === undefined || loaded === version);
  }

  isKnown(segmentId: string, nodeId: string): boolean {
    return this.isLoading(segmentId, nodeId) || this.isLoaded(segmentId, nodeId);
  }

  isResting(segmentId: string, nodeId: string): boolean {
    return (this.#copies.get(segmentId)?.get(nodeId)?.restUntil ?? 0) > this.#clock.monotonic();
  }

  loadedOn(segmentId: string): string[] {
    return this.#nodesOf(segmentId, ({ version }) => version !== null);
  }

  loadingOn(segmentId: string): string[] {
    return this.#nodesOf(segmentId, ({ isLoading, version }) => isLoading && version === null);
  }

  restingOn(segmentId: string): string[] {
    const now = this.#clock.monotonic();
    return this.#nodesOf(segmentId, ({ restUntil }) => restUntil > now);
  }

  /** Why it could not be loaded, on some node; empty when it was not tried, or could be loaded since. */
  failure(segmentId: string): string {
    for (const { failure } of this.#copies.get(segmentId)?.values() ?? []) if (failure !== "") return failure;
    return "";
  }

  /** Why some node would not load it; empty as `failure` is. */
  refusal(segmentId: string): string {
    for (const { failure, isRefusal } of this.#copies.get(segmentId)?.values() ?? [])
      if (failure !== "" && isRefusal) return failure;
    return "";
  }

  /** Forgets what is known of nodes that are gone, and of segments that nobody wants. */
  forget(isWanted: (segmentId: string) => boolean, isAlive: (nodeId: string) => boolean): void {
    for (const [segmentId, copies] of this.#copies) {
      for (const [nodeId, copy] of copies) {
        if (copy.isLoading) {
          if (!isWanted(segmentId) || !isAlive(nodeId)) copy.version = null;
        } else if (!isWanted(segmentId) || !isAlive(nodeId) || this.#isBlank(copy)) copies.delete(nodeId);
      }
      if (copies.size === 0) this.#copies.delete(segmentId);
    }
  }

  #isBlank({ version, restUntil, failure }: Copy): boolean {
    return version === null && restUntil <= this.#clock.monotonic() && failure === "";
  }

  #nodesOf(segmentId: string, test: (copy: Copy) => boolean): string[] {
    const copies = this.#copies.get(segmentId);
    if (copies === undefined) return [];
    const nodeIds: string[] = [];
    for (const [nodeId, copy] of copies) if (test(copy)) nodeIds.push(nodeId);
    return nodeIds;
  }

  #copy(segmentId: string, nodeId: string): Copy {
    let copies = this.#copies.get(segmentId);
    if (copies === undefined) {
      copies = new Map();
      this.#copies.set(segmentId, copies);
    }
    let copy = copies.get(nodeId);
    if (copy === undefined) {
      copy = { version: null, isLoading: false, restUntil: 0, failure: "", isRefusal: false };
      copies.set(nodeId, copy);
    }
    return copy;
  }

  #count(nodeId: string, change: number): void {
    this.#loading += change;
    const count = this.loadingBy(nodeId) + change;
    if (count > 0) this.#loadingBy.set(nodeId, count);
    else this.#loadingBy.delete(nodeId);
  }
}

/** What a node makes of a segment when it loads it: it is to load it again when this changes. */
export function versionOf(segment: SegmentDoc, mapping: string): string {
  const indexes = Object.entries(segment.indexes).map(([fieldId, { indexId }]) => `${fieldId}:${indexId}`);
  return [...indexes.sort(), mapping].join();
}

/** What is said of mapping anything: may change while the collection is released, of which this leader may see nothing. */
export function mappingOf({ properties, schema, indexes }: CollectionDoc): string {
  const ofFields = schema.fields.map(({ fieldId, mmapEnabled }) => [fieldId, mmapEnabled]);
  const ofIndexes = indexes.map((index) => [index.indexId, index.properties?.["mmap.enabled"]]);
  const said = [["", properties["mmap.enabled"]], ...ofFields, ...ofIndexes];
  return JSON.stringify(said.filter(([, value]) => value !== undefined));
}
