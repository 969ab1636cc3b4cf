import { expect, test } from "vitest";
import type { ActorContext } from "../../runtime/actor.ts";
import { timestampOfMs } from "../../runtime/timestamps.ts";
import type { Channel } from "./channel.ts";
import { settled } from "./open-read.ts";

/** A channel whose writes have got so far, and a coordinator whose clock is behind ours by so much. */
function world(lastMs: number, behindMs: number) {
  let nowMs = 100_000;
  const settledAt: number[] = [];
  const clock = {
    now: () => nowMs,
    sleep: (ms: number) => {
      nowMs += ms;
      return Promise.resolve();
    },
  };
  const bus = { ask: () => Promise.resolve({ first: timestampOfMs(nowMs - behindMs) }) };
  const ctx = {
    clock,
    bus,
    catalog: { cache: { subscribe: () => ({ [Symbol.dispose]: () => undefined }) } },
  } as unknown as ActorContext;
  const settle = () => {
    settledAt.push(nowMs - behindMs);
    return Promise.resolve();
  };
  const channel = { lastTs: timestampOfMs(lastMs), settle } as unknown as Channel;
  const read = (readMs: number) =>
    settled(ctx, channel, timestampOfMs(readMs), { deadline: 1_000_000, signal: undefined });
  return { read, settledAt };
}

test.each([0, 300, 2_000])(
  "a read ahead of all timestamps waits until its own has passed: no write waits for it",
  async (behind) => {
    const { read, settledAt } = world(90_000, behind);
    await read(104_000);
    expect(settledAt).toHaveLength(1);
    expect(settledAt[0]).toBeGreaterThan(104_000);
  },
);

test("a timestamp that has passed is settled at once, one that the writes have reached is so already", async () => {
  const { read, settledAt } = world(90_000, 0);
  await read(99_999);
  await read(80_000);
  expect(settledAt).toEqual([100_000]);
});

test("a timestamp from the future is refused", async () => {
  const { read, settledAt } = world(90_000, 0);
  await expect(read(200_000)).rejects.toThrow(/is in the future/);
  expect(settledAt).toEqual([]);
});
