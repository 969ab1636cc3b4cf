/** The newest write that this proxy acknowledged, by collection: what a Session read through it sees at least. */
import type { Catalog } from "../../runtime/meta/catalog.ts";

export class Sessions {
  readonly #lastWrites = new Map<number, bigint>();

  note(collectionId: number, ts: bigint): void {
    const known = this.#lastWrites.get(collectionId);
    if (known === undefined || ts > known) this.#lastWrites.set(collectionId, ts);
  }

  lastWrite(collectionId: number): bigint | undefined {
    return this.#lastWrites.get(collectionId);
  }

  /** Forgets collections that are no more. */
  prune(catalog: Catalog): void {
    for (const collectionId of this.#lastWrites.keys()) {
      if (catalog.collection(collectionId) === undefined) this.#lastWrites.delete(collectionId);
    }
  }
}
