/**
 * The memory of a query node: `query.memoryBytes` bound what is copied to it. What can be read from the disk cache's files
 * instead gives way to what cannot: when a load needs room, filters' caches go first, then the copies that were read the
 * longest ago are mapped; when there is room again, they are copied again.
 *
 * Owns     the room that loads under way have taken
 * Invariants
 *   B1. What is in memory and what is coming is never more than the bound (deletes and rows' caches grow beyond a load).
 *   B2. What is mapped can be searched all the time, while it moves too.
 *   B3. A part that cannot be moved stays where it is, and is left alone for a while: nothing else fails because of it.
 */
import type { Clock } from "../../runtime/clock.ts";
import { asVdbError, VdbError } from "../../runtime/errors.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { MmapPolicy } from "./mmap-policy.ts";

/** Vectors, or an index: in memory, or mapped. */
export interface Movable {
  readonly policy: MmapPolicy;
  readonly isMapped: boolean;
  /** What a copy takes; about. */
  readonly copyBytes: number;
  /** What it takes now: a mapped one a little. */
  readonly memoryBytes: number;
  /** Whether a copy would make searches faster. */
  readonly isSearched: boolean;
  /** Does nothing once it was forgotten. */
  move(toMapped: boolean): Promise<void>;
}

/** A loaded segment. */
export interface Holder {
  /** Grows with the reads of the node. */
  readonly readAt: number;
  /** Of what can only be in memory. */
  fixedBytes(): number;
  movables(): Iterable<Movable>;
  /** Of what makes filters faster. */
  cacheBytes(): number;
  dropCache(): void;
}

/** A part that could not be moved is tried again after this long, then after twice as long each time. */
const REST_MS_MIN = 10_000;
const REST_MS_MAX = 600_000;

/** Of a part that could not be moved. */
interface Rest {
  readonly until: number;
  readonly ms: number;
}

export class MemoryBudget {
  readonly #limitBytes: number;
  readonly #holders: () => Iterable<Holder>;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #resting = new WeakMap<Movable, Rest>();
  #comingBytes = 0;
  /** One copy is mapped at a time; loads that wait for room look again afterwards. */
  #mapping: Promise<void> | undefined;

  constructor(options: { limitBytes: number; holders: () => Iterable<Holder>; logger: Logger; clock: Clock }) {
    this.#clock = options.clock;
    this.#limitBytes = options.limitBytes;
    this.#holders = options.holders;
    this.#logger = options.logger;
  }

  /** Of what is loaded, without caches. */
  memoryBytes(): number {
    let bytes = 0;
    for (const holder of this.#holders()) {
      bytes += holder.fixedBytes();
      for (const movable of holder.movables()) bytes += movable.memoryBytes;
    }
    return bytes;
  }

  mappedBytes(): number {
    let bytes = 0;
    for (const { isMapped, copyBytes } of this.#movables()) if (isMapped) bytes += copyBytes;
    return bytes;
  }

  cacheBytes(): number {
    let bytes = 0;
    for (const holder of this.#holders()) bytes += holder.cacheBytes();
    return bytes;
  }

  hasRoom(bytes: number): boolean {
    return this.#usedBytes() + bytes <= this.#limitBytes;
  }

  /** Room for what must be in memory, until it counts itself. @throws VdbError memory_limit */
  async takeRoom(bytes: number, what: string): Promise<Disposable> {
    while (!this.#makeRoom(bytes)) {
      let mappable = 0;
      for (const movable of this.#movables()) if (this.#canBeMapped(movable)) mappable += movable.memoryBytes;
      const used = this.#usedBytes();
      if (mappable === 0 || used - mappable + bytes > this.#limitBytes) {
        throw new VdbError(
          "memory_limit",
          `${what} needs ${bytes} bytes, ${used} of this node's ${this.#limitBytes} are in use: add query nodes or raise query.memoryBytes`,
        );
      }
      this.#mapping ??= this.#mapLeastRead().finally(() => {
        this.#mapping = undefined;
      });
      await this.#mapping;
    }
    return this.#taken(bytes);
  }

  /** Room for a copy of what could be mapped; undefined when there is none. */
  tryRoom(bytes: number): Disposable | undefined {
    return this.#makeRoom(bytes) ? this.#taken(bytes) : undefined;
  }

  /** Copies what is mapped for want of room, as far as there is room now: the most recently read first. */
  async copySurplus(): Promise<void> {
    const holders = [...this.#holders()].sort((a, b) => b.readAt - a.readAt);
    for (const movable of holders.flatMap((holder) => [...holder.movables()])) {
      const { isMapped, isSearched, policy, copyBytes } = movable;
      if (!isMapped || !isSearched || policy !== "surplus" || !this.hasRoom(copyBytes)) continue;
      if (this.#isResting(movable)) continue;
      using _room = this.#taken(copyBytes);
      await this.move(movable, false);
    }
  }

  /** Moves a part, unless that fails: then it is where it was, and is not moved for a while. Never rejects. */
  async move(movable: Movable, toMapped: boolean): Promise<void> {
    try {
      await movable.move(toMapped);
      this.#resting.delete(movable);
    } catch (error) {
      const before = this.#resting.get(movable);
      const ms = before === undefined ? REST_MS_MIN : Math.min(REST_MS_MAX, 2 * before.ms);
      this.#resting.set(movable, { until: this.#clock.monotonic() + ms, ms });
      const fields = { bytes: movable.copyBytes, toMapped, retryMs: ms, error: asVdbError(error).message };
      this.#logger[before === undefined ? "warn" : "debug"](fields, "a part of a segment could not be moved");
    }
  }

  #isResting(movable: Movable): boolean {
    return (this.#resting.get(movable)?.until ?? Number.NEGATIVE_INFINITY) > this.#clock.monotonic();
  }

  #canBeMapped(movable: Movable): boolean {
    const { isMapped, policy, memoryBytes } = movable;
    return !isMapped && policy === "surplus" && memoryBytes > 0 && !this.#isResting(movable);
  }

  async #mapLeastRead(): Promise<void> {
    let found: Movable | undefined;
    let foundAt = Number.POSITIVE_INFINITY;
    for (const holder of this.#holders()) {
      if (holder.readAt >= foundAt) continue;
      const movable = [...holder.movables()].find((one) => this.#canBeMapped(one));
      if (movable === undefined) continue;
      found = movable;
      foundAt = holder.readAt;
    }
    this.#logger.debug({ bytes: found?.memoryBytes }, "a copy is mapped: its memory is needed");
    if (found !== undefined) await this.move(found, true);
  }

  /**
   * Includes what is coming, and caches. Caches are not reported to the coordinator, or it would place nothing more
   * here.
   */
  #usedBytes(): number {
    return this.memoryBytes() + this.cacheBytes() + this.#comingBytes;
  }

  /** Filters' caches can be made again, so they all go at once. */
  #makeRoom(bytes: number): boolean {
    if (this.hasRoom(bytes)) return true;
    for (const holder of this.#holders()) holder.dropCache();
    return this.hasRoom(bytes);
  }

  #taken(bytes: number): Disposable {
    this.#comingBytes += bytes;
    return {
      [Symbol.dispose]: () => {
        this.#comingBytes -= bytes;
      },
    };
  }

  *#movables(): Generator<Movable> {
    for (const holder of this.#holders()) yield* holder.movables();
  }
}
