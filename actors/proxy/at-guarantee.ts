/**
 * Reads at a moment still to come wait until it has come: only then do they see everything up to it. Moments are the
 * coordinator's timestamps, since the clocks of nodes differ. A waiting read takes a place among the requests handled
 * at once, so none waits longer than a request without a time limit may take, and waiting reads get only a part of the
 * places.
 */
import type { Call } from "../../runtime/bus/bus.ts";
import { VdbError } from "../../runtime/errors.ts";
import { msOfTimestamp } from "../../runtime/timestamps.ts";
import { timestampOf } from "./consistency.ts";
import type { ProxyContext } from "./context.ts";
import { newTimestamp } from "./new-timestamp.ts";
import { databaseName } from "./resolve.ts";

/** A moment farther ahead is a mistake, as in Milvus. */
const AHEAD_MS_MAX = 86_400_000;

/** The share of the requests handled at once that may be waiting. */
const WAITING_SHARE = 1 / 4;

/** Reads that wait, by their proxy. */
const waiting = new WeakMap<ProxyContext["actor"], number>();

/** The wait is checked again after this long: clocks may be set. */
const LOOK_MS = 5_000;

interface Read {
  dbName?: string | undefined;
  collectionName: string;
  consistencyLevel?: string | undefined;
  guaranteeTimestamp?: unknown;
  iterator?: boolean | undefined;
}

/** The read, when the timestamp that it is to see has been reached. */
export function atGuarantee<Body extends Read, T>(
  read: (proxy: ProxyContext, body: Body, call: Call) => Promise<T>,
): (proxy: ProxyContext, body: Body, call: Call) => Promise<T> {
  return (proxy, body, call) => {
    const ts = waitedFor(proxy, body);
    if (ts === undefined || msOfTimestamp(ts) <= proxy.actor.clock.now()) return read(proxy, body, call);
    return untilReached(proxy, ts, call).then(() => read(proxy, body, call));
  };
}

/** Undefined: the read has another measure of how fresh it is to be. */
function waitedFor({ actor }: ProxyContext, body: Read): bigint | undefined {
  // One that goes on reads at a timestamp that was given to it.
  if (body.guaranteeTimestamp === undefined || body.iterator === true) return undefined;
  const level =
    body.consistencyLevel ||
    actor.catalog.collectionByName(databaseName(body.dbName), body.collectionName)?.consistencyLevel;
  return level === "Customized" || level === "Session" ? timestampOf(body.guaranteeTimestamp) : undefined;
}

/** @throws VdbError unexpected for one too far ahead, overloaded, deadline_exceeded, canceled */
async function untilReached(proxy: ProxyContext, ts: bigint, call: Call): Promise<void> {
  const { actor } = proxy;
  const { clock, config } = actor;
  const aheadMs = msOfTimestamp(ts) - clock.now();
  if (aheadMs > AHEAD_MS_MAX) {
    throw new VdbError(
      "unexpected",
      `timestamp lag too large: guarantee timestamp ${ts} is ${Math.round(aheadMs / 1000)} s ahead, at most ${AHEAD_MS_MAX / 1000} s are waited for`,
    );
  }
  const count = waiting.get(actor) ?? 0;
  if (count >= Math.max(1, Math.floor(config.proxy.concurrency * WAITING_SHARE))) {
    throw new VdbError("overloaded", `${count} reads wait for their guarantee timestamps, ask again later`);
  }
  waiting.set(actor, count + 1);
  try {
    const deadline = Math.min(call.deadline, clock.monotonic() + config.proxy.requestTimeoutMs);
    for (;;) {
      const first = await newTimestamp(proxy, { ...call, deadline });
      if (first > ts) return;
      const leftMs = deadline - clock.monotonic();
      if (leftMs <= 0) throw new VdbError("deadline_exceeded", `guarantee timestamp ${ts} was not reached in time`);
      const waitMs = Math.max(1, msOfTimestamp(ts) - msOfTimestamp(first));
      await clock.sleep(Math.min(waitMs, LOOK_MS, leftMs), call.signal);
    }
  } finally {
    waiting.set(actor, waiting.get(actor)! - 1);
  }
}
