/** For tests of what is decided by the catalogue: its documents are the test's, and a commit is in them at once. */
import type { MetaCache } from "../meta/cache.ts";
import { type Catalog, createCatalog } from "../meta/catalog.ts";
import type { MetaOp } from "../meta/port.ts";
import { decodeDoc } from "../protocol/catalog.ts";

export interface DocsCatalog {
  /** By key, decoded. */
  readonly docs: Map<string, unknown>;
  readonly catalog: Catalog;
  /** Puts what is to be put. */
  apply(ops: readonly MetaOp[]): void;
}

export function catalogOfDocs(): DocsCatalog {
  const docs = new Map<string, unknown>();
  const cache: Pick<MetaCache, "revision" | "get" | "entries" | "revisionOf"> = {
    revision: 1,
    get: (key) => docs.get(key),
    *entries(prefix) {
      for (const [key, doc] of docs) if (key.startsWith(prefix)) yield [key, doc, 1];
    },
    revisionOf: () => 1,
  };
  const apply = (ops: readonly MetaOp[]): void => {
    for (const op of ops) if (op.op === "put") docs.set(op.key, decodeDoc(op.key, op.value));
  };
  return { docs, catalog: createCatalog(cache as MetaCache), apply };
}
