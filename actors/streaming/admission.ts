/**
 * Which writes a streaming node lets in. As what they fill comes near its bound they are slowed, more and more, and past
 * it refused as retriable: memory and the time of a recovery stay bounded, and reads never wait for any of it.
 */
import type { Clock } from "../../runtime/clock.ts";
import { VdbError } from "../../runtime/errors.ts";

/** From this share of the bound on, writes are slowed. */
const SOFT_MARK = 0.75;
/** Just below the bound. */
const DELAY_MS_MAX = 1_000;
/** Of writes that are being slowed: they are in memory too. */
const WAITING_BYTES_MAX = 64 << 20;

export interface Level {
  /** What is filling, for the message: "rows that wait to be flushed and loaded". */
  what: string;
  bytes: number;
  bytesMax: number;
}

export class Admission {
  readonly #clock: Clock;
  #waitingBytes = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Bytes of writes that are being slowed now. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /**
   * Resolves when a write may go on. deadline: clock.monotonic() milliseconds, after which nobody waits for it.
   * @throws VdbError rate_limited
   */
  async admit(bytes: number, deadline: number, levels: () => Level[]): Promise<void> {
    const delay = delayOf(levels());
    if (delay === 0) return;
    if (this.#clock.monotonic() + delay >= deadline || this.#waitingBytes + bytes > WAITING_BYTES_MAX) {
      throw refused(fullest(levels()));
    }
    this.#waitingBytes += bytes;
    try {
      await this.#clock.sleep(delay);
    } finally {
      this.#waitingBytes -= bytes;
    }
    const level = fullest(levels());
    if (fullness(level) >= 1) throw refused(level);
  }
}

/** @throws VdbError rate_limited when a level is at its bound */
export function refuseBeyond(levels: Level[]): void {
  for (const level of levels) if (fullness(level) >= 1) throw refused(level);
}

/** 0 up to the soft mark, growing with the square of what is above it. @throws VdbError rate_limited at the bound */
function delayOf(levels: Level[]): number {
  const level = fullest(levels);
  const share = fullness(level);
  if (share >= 1) throw refused(level);
  if (share <= SOFT_MARK) return 0;
  return Math.max(1, DELAY_MS_MAX * ((share - SOFT_MARK) / (1 - SOFT_MARK)) ** 2);
}

function fullest(levels: Level[]): Level {
  return levels.reduce((most, level) => (fullness(level) > fullness(most) ? level : most));
}

function fullness({ bytes, bytesMax }: Level): number {
  return bytes / bytesMax;
}

function refused({ what, bytes, bytesMax }: Level): VdbError {
  return new VdbError(
    "rate_limited",
    `${bytes} bytes of ${what} on this node, at most ${bytesMax} are allowed: slow down and retry`,
    { details: { bytes, bytesMax } },
  );
}
