import { describe, expect, it } from "vitest";
import type { Actor, ActorContext } from "./actor.ts";
import { createLogger } from "./logger.ts";
import type { Scope } from "./scope.ts";
import { Supervised } from "./supervisor.ts";
import { ManualClock } from "./testing/manual-clock.ts";

interface Life {
  scope: Scope;
  /** Fails a task of this life. */
  crash(error: Error): void;
  isDrained: boolean;
  isClosed: boolean;
}

/** A supervised actor whose lives the test ends; `startFails` says of each life whether its start throws. */
function supervise(startFails: (life: number) => boolean = () => false) {
  const clock = new ManualClock();
  const lives: Life[] = [];
  const givenUp: Error[] = [];
  const supervised = new Supervised({
    role: "query",
    clock,
    logger: createLogger({ level: "silent" }),
    newContext: (scope) => ({ scope }) as ActorContext,
    onGivenUp: (error) => givenUp.push(error),
    factory: ({ scope }): Actor => ({
      async start() {
        const life: Life = { scope, crash: () => undefined, isDrained: false, isClosed: false };
        scope.defer(() => {
          life.isClosed = true;
        });
        scope.spawn("task", (signal) => {
          return new Promise((resolve, reject) => {
            life.crash = reject;
            signal.addEventListener("abort", () => resolve(), { once: true });
          });
        });
        lives.push(life);
        if (startFails(lives.length)) throw new Error(`start of life ${lives.length} failed`);
      },
      async drain() {
        lives.at(-1)!.isDrained = true;
      },
      observe: () => ({ life: lives.length }),
    }),
  });
  return { supervised, clock, lives, givenUp };
}

/** Longer than any backoff, far shorter than what makes earlier crashes forgotten. */
const BACKOFF_MS = 6_000;
const FORGOTTEN_MS = 61_000;

describe("Supervised", () => {
  it("starts a crashed actor again, as a new one in a new scope, once the old one is closed", async () => {
    const { supervised, clock, lives } = supervise();
    await supervised.start();
    expect(supervised.observe()).toEqual({ life: 1 });

    lives[0]!.crash(new Error("broken"));
    await clock.settle();
    expect(supervised.observe()).toEqual({ isRestarting: true });
    await clock.advance(BACKOFF_MS);

    expect(lives).toHaveLength(2);
    expect(lives[0]!.isClosed).toBe(true);
    expect(lives[0]!.scope.signal.aborted).toBe(true);
    expect(lives[1]!.scope).not.toBe(lives[0]!.scope);
    expect(lives[1]!.isClosed).toBe(false);
    expect(supervised.observe()).toEqual({ life: 2 });
  });

  it("waits before a start, longer with each start that fails", async () => {
    const { supervised, clock, lives } = supervise((life) => life >= 2 && life <= 4);
    await supervised.start();
    lives[0]!.crash(new Error("broken"));
    await clock.advance(BACKOFF_MS);
    expect(lives).toHaveLength(5);
    const waits = clock.sleeps.filter((ms) => ms > 0);
    expect(waits).toHaveLength(4);
    expect(waits.slice(1).every((ms, i) => ms > waits[i]!)).toBe(true);
    expect(lives.map(({ isClosed }) => isClosed)).toEqual([true, true, true, true, false]);
  });

  it("gives up after many crashes in a short time, with the reason", async () => {
    const { supervised, clock, lives, givenUp } = supervise();
    await supervised.start();
    for (let i = 0; i < 20 && givenUp.length === 0; i++) {
      lives.at(-1)!.crash(new Error(`crash ${lives.length}`));
      await clock.advance(BACKOFF_MS);
    }
    expect(givenUp.map(({ message }) => message)).toEqual([`crash ${lives.length}`]);
    expect(lives.length).toBeGreaterThan(2);
    await clock.advance(FORGOTTEN_MS);
    expect(lives.at(-1)!.isClosed).toBe(true);
  });

  it("gives up on an actor that can not be started again", async () => {
    const { supervised, clock, lives, givenUp } = supervise((life) => life > 1);
    await supervised.start();
    lives[0]!.crash(new Error("broken"));
    await clock.advance(FORGOTTEN_MS);
    expect(givenUp.map(({ message }) => message)).toEqual(["broken"]);
  });

  it("does not give up on crashes that are far apart", async () => {
    const { supervised, clock, lives, givenUp } = supervise();
    await supervised.start();
    for (let i = 0; i < 20; i++) {
      lives.at(-1)!.crash(new Error("now and then"));
      await clock.advance(FORGOTTEN_MS);
    }
    expect(givenUp).toEqual([]);
    expect(lives).toHaveLength(21);
  });

  it("rejects when the first start fails, and leaves nothing running", async () => {
    const { supervised, clock, lives } = supervise(() => true);
    await expect(supervised.start()).rejects.toThrow("start of life 1 failed");
    expect(lives[0]!.isClosed).toBe(true);
    await clock.advance(FORGOTTEN_MS);
    expect(lives).toHaveLength(1);
  });

  it("starts an actor again of which a task failed while it was starting", async () => {
    const clock = new ManualClock();
    let lives = 0;
    const supervised = new Supervised({
      role: "query",
      clock,
      logger: createLogger({ level: "silent" }),
      newContext: (scope) => ({ scope }) as ActorContext,
      onGivenUp: () => undefined,
      factory: ({ scope }) => ({
        async start() {
          lives++;
          if (lives === 1) scope.spawn("follower", () => Promise.reject(new Error("nothing to follow")));
          await clock.yield();
        },
        observe: () => ({ lives }),
      }),
    });
    await supervised.start();
    await clock.advance(BACKOFF_MS);
    expect(supervised.observe()).toEqual({ lives: 2 });
  });

  it("hands over and closes when it stops, and does not take that for a crash", async () => {
    const { supervised, clock, lives } = supervise();
    await supervised.start();
    await supervised.stop();
    expect(lives.map(({ isDrained, isClosed }) => [isDrained, isClosed])).toEqual([[true, true]]);
    await clock.advance(FORGOTTEN_MS);
    expect(lives).toHaveLength(1);
  });

  it("starts no new life when it stops between two", async () => {
    const { supervised, clock, lives } = supervise();
    await supervised.start();
    lives[0]!.crash(new Error("broken"));
    await clock.settle();
    const stopped = supervised.stop();
    await clock.advance(BACKOFF_MS);
    await stopped;
    expect(lives).toHaveLength(1);
    expect(lives[0]!.isClosed).toBe(true);
  });
});
