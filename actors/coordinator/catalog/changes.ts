/**
 * What every change of the catalogue is made with. Each change is one guarded batch: after a crash it has happened
 * wholly or not at all. They run one at a time, so each sees the one before.
 */
import type { ActorContext } from "../../../runtime/actor.ts";
import { VdbError } from "../../../runtime/errors.ts";
import type { MetaCache } from "../../../runtime/meta/cache.ts";
import { type CalledBy, type Catalog, existingCollection, putDoc } from "../../../runtime/meta/catalog.ts";
import type { MetaOp } from "../../../runtime/meta/port.ts";
import { type CollectionDoc, metaKeys } from "../../../runtime/protocol/catalog.ts";
import type { Leadership } from "../leadership.ts";
import type { Window } from "../window.ts";

export interface Windows {
  timestamps: Window;
  ids: Window;
}

/** The revision that a node's cache must reach to see the change. */
export interface Changed {
  revision: number;
}

export interface ChangeContext {
  readonly ctx: ActorContext;
  readonly catalog: Catalog;
  readonly cache: MetaCache;
  readonly windows: Windows;
  /**
   * Tries until the expectations hold: what `change` reads is current then. Null: there is nothing to change.
   * @throws VdbError what `change` throws; canceled when deposed; unavailable
   */
  commit(change: () => Promise<MetaOp[] | null> | MetaOp[] | null): Promise<Changed>;
  /** Only within `commit`, whose turn it is: a commit before the one that the change is about. False: look again. */
  commitFirst(ops: MetaOp[]): Promise<boolean>;
  newId(): Promise<number>;
  /** called: what it must be called. @throws VdbError collection_not_found */
  existing(collectionId: number, called?: CalledBy): CollectionDoc;
  put(collection: CollectionDoc): MetaOp;
  /** Deletes those of the keys that have a value. */
  remove(keys: readonly string[]): MetaOp[];
  /** As `remove`; and the batch fails when one of the others has been written since, which would outlive it. */
  removeAll(keys: readonly string[]): MetaOp[];
}

export function changeContext(ctx: ActorContext, leadership: Leadership, windows: Windows): ChangeContext {
  const { catalog } = ctx;
  const { cache } = catalog;
  let last: Promise<unknown> = Promise.resolve();

  function requireLeading(): void {
    if (leadership.signal.aborted) throw new VdbError("canceled", "this coordinator leads no more");
  }

  async function attempt(change: () => Promise<MetaOp[] | null> | MetaOp[] | null): Promise<Changed> {
    for (;;) {
      // Only a leader may say that there is nothing to change, or that a change is refused.
      requireLeading();
      const ops = await change();
      requireLeading();
      if (ops === null || ops.length === 0 || (await leadership.commit(ops))) return { revision: cache.revision };
    }
  }

  return {
    ctx,
    catalog,
    cache,
    windows,
    commit(change) {
      // Even if the change before failed: this one looks at what is there now.
      const done = last.then(() => attempt(change));
      last = done.catch(() => undefined);
      return done;
    },
    commitFirst: (ops) => leadership.commit(ops),
    newId: async () => Number(await windows.ids.allocate(1)),
    existing: (collectionId, called) => existingCollection(catalog, collectionId, called),
    put: (collection) => putDoc(cache, metaKeys.collection(collection.collectionId), collection),
    remove: (keys) =>
      keys
        .filter((key) => cache.revisionOf(key) > 0)
        .map((key): MetaOp => ({ op: "delete", key, revision: cache.revisionOf(key) })),
    removeAll: (keys) =>
      keys.map((key): MetaOp => {
        const revision = cache.revisionOf(key);
        return { op: revision > 0 ? "delete" : "guard", key, revision };
      }),
  };
}

/** What is left of properties, and what they became, after a change: keys that are set again are set. */
export function alteredProperties(
  properties: Readonly<Record<string, string>>,
  set: Readonly<Record<string, string>>,
  removed: readonly string[],
): Record<string, string> {
  const kept = Object.entries(properties).filter(([key]) => !removed.includes(key));
  return { ...Object.fromEntries(kept), ...set };
}
