import { expect, test } from "vitest";
import type { Call } from "../../runtime/bus/bus.ts";
import { allocateTimestamps } from "../../runtime/protocol/coordinator.ts";
import { ManualClock } from "../../runtime/testing/manual-clock.ts";
import { timestampOfMs } from "../../runtime/timestamps.ts";
import { atGuarantee } from "./at-guarantee.ts";
import type { ProxyContext } from "./context.ts";

/** A proxy whose coordinator's clock is its own; the collection's level is Session. */
function proxyAt(clock: ManualClock): ProxyContext {
  const ask = async (operation: { subject: string }) => {
    expect(operation.subject).toBe(allocateTimestamps.subject);
    return { first: timestampOfMs(clock.now()) };
  };
  const cache = { subscribe: () => ({ [Symbol.dispose]: () => undefined }) };
  const catalog = { collectionByName: () => ({ consistencyLevel: "Session" }), cache };
  const config = { proxy: { requestTimeoutMs: 90_000, concurrency: 8 } };
  return { actor: { clock, config, catalog, bus: { ask } } } as unknown as ProxyContext;
}

const call: Call = { deadline: 60_000, signal: undefined };
const read = atGuarantee(async () => "read");
const at = (ms: number) => ({ collectionName: "c", guaranteeTimestamp: String(timestampOfMs(ms)) });

test.each(["Session", "Customized", undefined])("a read at level %s waits until its moment has come", async (level) => {
  const clock = new ManualClock();
  let isDone = false;
  const reading = read(proxyAt(clock), { ...at(7_000), consistencyLevel: level }, call).then((result) => {
    isDone = true;
    return result;
  });
  await clock.advance(6_900);
  expect(isDone).toBe(false);
  await clock.advance(200);
  expect(await reading).toBe("read");
});

test("at a moment that is past, or at a level that has none, it does not", async () => {
  const clock = new ManualClock();
  expect(await read(proxyAt(clock), at(0), call)).toBe("read");
  for (const consistencyLevel of ["Strong", "Bounded", "Eventually"]) {
    expect(await read(proxyAt(clock), { ...at(10_000), consistencyLevel }, call)).toBe("read");
  }
});

test("the wait ends with the request, and one of days is none", async () => {
  const clock = new ManualClock();
  const reading = expect(read(proxyAt(clock), at(70_000), call)).rejects.toMatchObject({ kind: "deadline_exceeded" });
  await clock.advance(61_000);
  await reading;
  const never = { collectionName: "c", guaranteeTimestamp: String(2n ** 64n - 1n) };
  await expect(read(proxyAt(clock), never, call)).rejects.toThrowError("timestamp lag too large");
});

test("whatever time the request has, it ends with that of one that names none", async () => {
  const clock = new ManualClock();
  const patient: Call = { deadline: 86_400_000, signal: undefined };
  const reading = expect(read(proxyAt(clock), at(200_000), patient)).rejects.toMatchObject({
    kind: "deadline_exceeded",
  });
  await clock.advance(91_000);
  await reading;
});

test("a quarter of the requests that are handled at once may wait, and places become free", async () => {
  const clock = new ManualClock();
  const proxy = proxyAt(clock);
  const waiting = [read(proxy, at(7_000), call), read(proxy, at(7_000), call)];
  await expect(read(proxy, at(7_000), call)).rejects.toMatchObject({ kind: "overloaded" });
  expect(await read(proxy, at(0), call)).toBe("read");
  await clock.advance(7_100);
  expect(await Promise.all(waiting)).toEqual(["read", "read"]);
  const next = read(proxy, at(9_000), call);
  await clock.advance(2_000);
  expect(await next).toBe("read");
});
