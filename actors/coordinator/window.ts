/**
 * Numbers handed out once: timestamps and ids. The bound of a window is persisted before any number below it is used,
 * so a new leader, starting at the bound, never repeats or goes back.
 */
import type { Clock } from "../../runtime/clock.ts";
import { VdbError } from "../../runtime/errors.ts";
import { type Catalog, putDoc } from "../../runtime/meta/catalog.ts";
import { metaKeys } from "../../runtime/protocol/catalog.ts";
import { timestampOfMs } from "../../runtime/timestamps.ts";
import type { Leadership } from "./leadership.ts";

/** Timestamps are persisted this far ahead: one commit every few seconds, and a take-over skips at most as much. */
const TIMESTAMP_AHEAD_MS = 3_000;
const ID_STEP = 1_000_000n;

export class Window {
  readonly #catalog: Catalog;
  readonly #leadership: Leadership;
  readonly #key: string;
  /** The least next number, and how far ahead to persist. */
  readonly #floor: () => bigint;
  readonly #step: bigint;
  #next: bigint;
  #bound: bigint;
  #extending: Promise<void> | undefined;

  private constructor(
    catalog: Catalog,
    leadership: Leadership,
    options: { key: string; floor: () => bigint; step: bigint },
  ) {
    this.#catalog = catalog;
    this.#leadership = leadership;
    this.#key = options.key;
    this.#floor = options.floor;
    this.#step = options.step;
    this.#bound = catalog.window(options.key)?.bound ?? 1n;
    this.#next = this.#bound;
  }

  static timestamps(catalog: Catalog, leadership: Leadership, clock: Clock): Window {
    return new Window(catalog, leadership, {
      key: metaKeys.timestampWindow,
      floor: () => timestampOfMs(clock.now()),
      step: timestampOfMs(TIMESTAMP_AHEAD_MS),
    });
  }

  static ids(catalog: Catalog, leadership: Leadership): Window {
    return new Window(catalog, leadership, { key: metaKeys.idWindow, floor: () => 0n, step: ID_STEP });
  }

  /** The first of count consecutive numbers. @throws VdbError canceled, unavailable */
  async allocate(count: number): Promise<bigint> {
    const size = BigInt(count);
    for (;;) {
      if (this.#leadership.signal.aborted) throw new VdbError("not_ready", "this coordinator leads no more");
      const floor = this.#floor();
      const first = this.#next > floor ? this.#next : floor;
      if (first + size <= this.#bound) {
        this.#next = first + size;
        return first;
      }
      // Concurrent callers share one extension.
      this.#extending ??= this.#extend(first + size + this.#step).finally(() => {
        this.#extending = undefined;
      });
      await this.#extending;
    }
  }

  /** Hands out nothing below `next` from now on. @throws VdbError canceled, unavailable */
  async raise(next: bigint): Promise<void> {
    while (this.#next < next) {
      if (next <= this.#bound) this.#next = next;
      else await this.#extend(next + this.#step);
    }
  }

  async #extend(bound: bigint): Promise<void> {
    if (await this.#leadership.commit([putDoc(this.#catalog.cache, this.#key, { bound })])) this.#bound = bound;
  }
}
