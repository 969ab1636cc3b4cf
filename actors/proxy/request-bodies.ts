/**
 * Bodies of requests on their way in: bounded in time and in size, and together in what they take of a proxy's memory.
 * Over HTTP bytes count as they arrive, so a client that announces much and sends little takes little; a gRPC message
 * counts when it is whole, since the library reads it.
 */
import type { Readable } from "node:stream";
import type { Clock } from "../../runtime/clock.ts";
import { VdbError } from "../../runtime/errors.ts";
import { takeTurn } from "../../runtime/turns.ts";

/** For all of a body to arrive: 64 MiB at 220 KB/s. */
export const BODY_MS = 300_000;

/** After which some of the bodies are likely to be gone. */
const RETRY_MS = 1_000;

/** What all bodies of a proxy may take together. */
export class BodyBudget {
  readonly max: number;
  #held = 0;

  constructor(max: number) {
    this.max = max;
  }

  /** Bytes of bodies that have arrived, of requests that are not answered. */
  get held(): number {
    return this.#held;
  }

  /** @throws VdbError rate_limited when so many would be too many */
  refuseBeyond(bytes: number): void {
    if (this.#held + bytes <= this.max) return;
    const limit = "proxy.bodiesBytesMax";
    throw new VdbError(
      "rate_limited",
      `rate limit exceeded[limit=${limit}][bytes=${this.max}]: request is rejected by limiter, the requests under way hold ${this.#held} bytes of bodies: try again in ${RETRY_MS} ms, or send less at a time`,
      { details: { limit, bytes: this.max, retryAfterMs: RETRY_MS } },
    );
  }

  hold(bytes: number): void {
    this.#held += bytes;
  }
}

/** The body of one request. To be released when the request is answered. */
export class Body {
  readonly #budget: BodyBudget;
  /** Undefined: the client does not say. */
  #length: number | undefined;
  #whole: Buffer | undefined;
  readonly #parts: Buffer[] = [];
  #received = 0;
  #held = 0;

  constructor(budget: BodyBudget) {
    this.#budget = budget;
  }

  /** Bytes of it that are here. */
  get received(): number {
    return this.#received;
  }

  /** How long it will be. @throws VdbError rate_limited */
  announce(length: number): void {
    this.#budget.refuseBeyond(length);
    this.#length = length;
  }

  get isComplete(): boolean {
    return this.#length !== undefined && this.#received >= this.#length;
  }

  /** What is made of it while the request is under way. @throws VdbError rate_limited */
  count(bytes: number): void {
    this.#budget.refuseBeyond(bytes);
    this.#budget.hold(bytes);
    this.#held += bytes;
  }

  /** @throws VdbError rate_limited */
  add(bytes: Buffer): void {
    this.count(bytes.length);
    // What comes in one piece is not copied; of what is announced, each piece goes to its place as it comes.
    if (this.#length === undefined || (this.#received === 0 && bytes.length >= this.#length)) this.#parts.push(bytes);
    else {
      this.#whole ??= Buffer.allocUnsafeSlow(this.#length);
      bytes.copy(this.#whole, this.#received);
    }
    this.#received += bytes.length;
  }

  /** All that has come. In turns where it was not known how much that would be. */
  async bytes(clock: Clock): Promise<Buffer> {
    if (this.#whole !== undefined) return this.#whole;
    const [only, ...more] = this.#parts;
    if (only === undefined) return Buffer.alloc(0);
    if (more.length === 0) return only;
    const whole = Buffer.allocUnsafeSlow(this.#received);
    let at = 0;
    for (const part of this.#parts) {
      await takeTurn(clock);
      at += part.copy(whole, at);
    }
    return whole;
  }

  release(): void {
    this.#budget.hold(-this.#held);
    this.#held = 0;
  }
}

/**
 * Gives each piece of a stream to `take` until that says that it has all, or the stream ends.
 * @throws VdbError canceled when the stream breaks off, deadline_exceeded when it takes too long; what `take` throws
 */
export function readPieces(
  stream: Readable,
  clock: Clock,
  withinMs: number,
  take: (piece: Buffer) => boolean,
): Promise<void> {
  // What has been said is not said again.
  if (stream.readableEnded) return Promise.resolve();
  if (stream.destroyed) return Promise.reject(goneTooSoon());
  return new Promise((resolve, reject) => {
    const timer = clock.timer(withinMs, () =>
      finish(new VdbError("deadline_exceeded", `the request's body did not arrive within ${withinMs} ms`)),
    );
    const onData = (piece: Buffer) => {
      try {
        if (take(piece)) finish();
      } catch (error) {
        finish(error);
      }
    };
    const onEnd = () => finish();
    const onGone = () => finish(goneTooSoon());
    function finish(error?: unknown): void {
      timer[Symbol.dispose]();
      stream.off("data", onData).off("end", onEnd).off("error", onGone).off("close", onGone);
      stream.pause();
      if (error === undefined) resolve();
      else reject(error);
    }
    stream.on("data", onData).on("end", onEnd).on("error", onGone).on("close", onGone);
  });
}

function goneTooSoon(): VdbError {
  return new VdbError("canceled", "the client has gone before its request was there");
}
