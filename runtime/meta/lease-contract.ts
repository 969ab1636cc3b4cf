/** What every store of leases must do: the tests that an implementation of the port passes. */
import { beforeEach, expect, test } from "vitest";
import type { Clock } from "../clock.ts";
import type { LeasePort, MetaChange } from "./port.ts";

export interface LeaseHarness {
  /** A store of its own that is empty. */
  open(): Promise<LeasePort>;
  /** Ends what the store is kept in for so long, and starts it again. */
  restart(downMs: number): Promise<void>;
  /** The clock that leases end by, or one that goes as fast. */
  clock: Clock;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

export function describeLeases(harness: () => LeaseHarness): void {
  let leases: LeasePort;
  let clock: Clock;
  beforeEach(async () => {
    leases = await harness().open();
    clock = harness().clock;
  });

  /** Resolves with the time at which the watch says that the key is gone. */
  async function watchEnd(key: string) {
    const seen: MetaChange[] = [];
    let onEnd: (at: number) => void = () => undefined;
    const ended = new Promise<number>((resolve) => {
      onEnd = resolve;
    });
    const watch = await leases.watch([key], (changes) => {
      seen.push(...changes);
      if (changes.some((change) => change.value === null)) onEnd(clock.monotonic());
    });
    await watch.ready;
    return { seen, ended, [Symbol.asyncDispose]: () => watch[Symbol.asyncDispose]() };
  }

  test("one of many acquires a lease, and the others are told that somebody holds it", async () => {
    const outcomes = await Promise.all(
      Array.from({ length: 10 }, (_, i) => leases.acquire("node.a", bytes(`${i}`), 60)),
    );
    const tokens = outcomes.filter((outcome) => outcome !== null);
    expect(tokens).toHaveLength(1);
    expect(await leases.get("node.a")).toEqual({
      key: "node.a",
      value: bytes(`${outcomes.indexOf(tokens[0]!)}`),
      revision: tokens[0],
    });
  });

  test("a lease that is not renewed ends, watchers hear of it in time, and the next token is larger", async () => {
    const ttlSeconds = 2;
    await using end = await watchEnd("coord");
    const acquiredAt = clock.monotonic();
    const first = (await leases.acquire("coord", bytes("1"), ttlSeconds))!;
    const lastedMs = (await end.ended) - acquiredAt;
    expect(lastedMs).toBeGreaterThan(ttlSeconds * 1_000 - 50);
    // The server needs a second at most; a machine that others use may take far longer to tell.
    expect(lastedMs).toBeLessThan(ttlSeconds * 1_000 + 15_000);
    expect(await leases.get("coord")).toBeNull();
    const second = (await leases.acquire("coord", bytes("2"), 60))!;
    expect(second).toBeGreaterThan(first);
    expect(await leases.renew("coord", bytes("1"), ttlSeconds, first)).toBeNull();
    expect(await leases.release("coord", first)).toBe(false);
    expect((await leases.get("coord"))?.revision).toBe(second);
  });

  test("a renewed lease outlives its first TTL, and then ends all the same", async () => {
    await using end = await watchEnd("node.a");
    const startedAt = clock.monotonic();
    const firstSeconds = 4;
    let token = (await leases.acquire("node.a", bytes("0"), firstSeconds))!;
    // Renewed at once, and for long: only the last renewal may run out, however slow the machine is.
    for (const [i, ttlSeconds] of [60, 60, 60, 60, 1].entries()) {
      if (i === 1) await clock.sleep(firstSeconds * 1_000 + 1_500);
      const renewed = await leases.renew("node.a", bytes(`${i + 1}`), ttlSeconds, token);
      expect(renewed).toBeGreaterThan(token);
      token = renewed!;
    }
    expect((await end.ended) - startedAt).toBeGreaterThan(firstSeconds * 1_000 + 1_500 + 950);
    expect(end.seen.map((change) => change.value && new TextDecoder().decode(change.value))).toEqual([
      "0",
      "1",
      "2",
      "3",
      "4",
      "5",
      null,
    ]);
  });

  test("renewing with an old token is refused, and takes nothing from the holder", async () => {
    const first = (await leases.acquire("a", bytes("1"), 60))!;
    const second = (await leases.renew("a", bytes("2"), 60, first))!;
    expect(await leases.renew("a", bytes("3"), 60, first)).toBeNull();
    expect(await leases.renew("a", bytes("4"), 60, second)).toBeGreaterThan(second);
  });

  test("a released lease is free at once, and watchers hear of it", async () => {
    await using end = await watchEnd("a");
    const first = (await leases.acquire("a", bytes("1"), 60))!;
    expect(await leases.release("a", first)).toBe(true);
    await end.ended;
    expect(await leases.get("a")).toBeNull();
    expect(await leases.release("a", first)).toBe(false);
    const second = (await leases.acquire("a", bytes("2"), 60))!;
    expect(second).toBeGreaterThan(first);
    expect(await leases.release("a", second)).toBe(true);
  });

  test("a watch that starts late sees the leases held", async () => {
    await leases.acquire("node.a", bytes("a"), 60);
    await leases.acquire("node.b", bytes("b"), 60);
    await leases.acquire("coord", bytes("c"), 60);
    const seen: MetaChange[] = [];
    await using watch = await leases.watch(["node."], (changes) => seen.push(...changes));
    await watch.ready;
    expect(seen.map((change) => change.key)).toEqual(["node.a", "node.b"]);
  });

  test("leases go on over a kill of the server: tokens hold, and one that ended meanwhile is reported", async () => {
    await using end = await watchEnd("short");
    await leases.acquire("short", bytes("1"), 1);
    const long = (await leases.acquire("long", bytes("1"), 300))!;
    await harness().restart(1_500);
    const renewed = await leases.renew("long", bytes("2"), 300, long);
    expect(renewed).toBeGreaterThan(long);
    await end.ended;
    expect(await leases.acquire("short", bytes("2"), 30)).toBeGreaterThan(renewed!);
  });

  test("a TTL that the server cannot keep is refused", async () => {
    for (const ttlSeconds of [0, 0.5, 1.5, Number.NaN]) {
      await expect(leases.acquire("a", bytes(""), ttlSeconds)).rejects.toThrow(/whole number of seconds/);
    }
  });
}
