/**
 * The dense vectors of a field of a loaded segment: copied to memory, or views of its file, mapped. Where an index of the
 * field is loaded, only output fields and exact searches ask for them, so then they stay mapped.
 */
import type { FilePart } from "../../runtime/segment/find-vectors.ts";
import { copiedVectors, mappedVectors } from "../../runtime/segment/read-mapped-segment.ts";
import type { Segment } from "../../runtime/segment/segment.ts";
import type { Movable } from "./memory-budget.ts";
import type { MmapPolicy } from "./mmap-policy.ts";

export interface VectorFacts {
  readonly segment: Segment;
  readonly fieldId: number;
  readonly path: string;
  /** The whole file. */
  readonly mapped: ArrayBuffer;
  /** By chunk. */
  readonly parts: readonly FilePart[];
  readonly policy: MmapPolicy;
  readonly hasIndex: () => boolean;
}

export class LoadedVectors implements Movable {
  readonly policy: MmapPolicy;
  readonly copyBytes: number;
  readonly #facts: VectorFacts;
  #isClosed = false;
  isMapped = true;

  /** Vectors of a segment that was read with them mapped. */
  constructor(facts: VectorFacts) {
    this.policy = facts.policy;
    this.copyBytes = facts.parts.reduce((sum, { bytes }) => sum + bytes, 0);
    this.#facts = facts;
  }

  get memoryBytes(): number {
    return this.isMapped ? 0 : this.copyBytes;
  }

  get isSearched(): boolean {
    return !this.#facts.hasIndex();
  }

  async move(toMapped: boolean): Promise<void> {
    if (this.#isClosed || toMapped === this.isMapped) return;
    const { segment, fieldId, path, mapped, parts } = this.#facts;
    if (toMapped) segment.moveVectors(fieldId, mappedVectors(segment, fieldId, mapped, parts));
    else {
      const copies = await copiedVectors(segment, fieldId, path, parts);
      if (this.#isClosed) return;
      segment.moveVectors(fieldId, copies);
    }
    this.isMapped = toMapped;
  }

  close(): void {
    this.#isClosed = true;
  }
}
