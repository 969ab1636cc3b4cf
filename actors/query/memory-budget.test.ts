import { expect, test } from "vitest";
import { VdbError } from "../../runtime/errors.ts";
import { createLogger } from "../../runtime/logger.ts";
import { systemClock } from "../../runtime/system-clock.ts";
import { type Holder, MemoryBudget, type Movable } from "./memory-budget.ts";
import type { MmapPolicy } from "./mmap-policy.ts";

const LIMIT = 100;

const manual = { now: 0, clock: { ...systemClock, monotonic: () => manual.now } };

/** A part of a segment that moves at once, and keeps a little in memory when it is mapped. */
class Part implements Movable {
  readonly memoryWhenMapped = 1;
  isMapped: boolean;
  isSearched = true;
  isBroken = false;
  moves = 0;
  readonly copyBytes: number;
  readonly policy: MmapPolicy;

  constructor(copyBytes: number, { isMapped = false, policy = "surplus" as MmapPolicy } = {}) {
    this.copyBytes = copyBytes;
    this.isMapped = isMapped;
    this.policy = policy;
  }

  get memoryBytes(): number {
    return this.isMapped ? this.memoryWhenMapped : this.copyBytes;
  }

  async move(toMapped: boolean): Promise<void> {
    this.moves++;
    await Promise.resolve();
    if (this.isBroken) throw new VdbError("unavailable", "the file cannot be mapped");
    this.isMapped = toMapped;
  }
}

interface Fixed {
  readAt: number;
  fixed?: number;
  cache?: number;
  parts?: Part[];
}

function budgetOf(...segments: Fixed[]): MemoryBudget {
  const holders: Holder[] = segments.map((segment) => ({
    readAt: segment.readAt,
    fixedBytes: () => segment.fixed ?? 0,
    movables: () => segment.parts ?? [],
    cacheBytes: () => segment.cache ?? 0,
    dropCache: () => {
      segment.cache = 0;
    },
  }));
  const logger = createLogger({ level: "silent" });
  return new MemoryBudget({ limitBytes: LIMIT, holders: () => holders, logger, clock: manual.clock });
}

test("what must be in memory takes the place of filters' caches first, then of what was read the longest ago", async () => {
  const segments = [
    { readAt: 9, fixed: 10, cache: 10, parts: [new Part(20)] },
    { readAt: 2, fixed: 10, parts: [new Part(20)] },
    { readAt: 5, fixed: 10, parts: [new Part(20)] },
  ];
  const budget = budgetOf(...segments);
  const mapped = () => segments.map(({ parts }) => parts[0]!.isMapped);
  expect([budget.memoryBytes(), budget.cacheBytes(), budget.mappedBytes()]).toEqual([90, 10, 0]);
  const first = await budget.takeRoom(10, "a load");
  expect([budget.cacheBytes(), ...mapped()]).toEqual([0, false, false, false]);
  const second = await budget.takeRoom(10, "a load");
  expect(mapped()).toEqual([false, true, false]);
  expect([budget.memoryBytes(), budget.mappedBytes()]).toEqual([71, 20]);
  await budget.takeRoom(15, "a load");
  expect(mapped()).toEqual([false, true, true]);
  first[Symbol.dispose]();
  second[Symbol.dispose]();
  expect(budget.hasRoom(33)).toBe(true);
  expect(budget.hasRoom(34)).toBe(false);
});

test("loads that come together never take more than there is", async () => {
  const parts = Array.from({ length: 10 }, () => new Part(10));
  const budget = budgetOf(...parts.map((part, readAt) => ({ readAt, parts: [part] })));
  const taken = await Promise.allSettled([30, 30, 30, 30].map((bytes) => budget.takeRoom(bytes, "a load")));
  const rooms = taken.filter(({ status }) => status === "fulfilled");
  expect(rooms).toHaveLength(3);
  expect(budget.memoryBytes() + 30 * rooms.length).toBeLessThanOrEqual(LIMIT);
});

test("a load that would not fit were everything mapped is refused, and nothing is mapped for it", async () => {
  const part = new Part(40);
  const budget = budgetOf({ readAt: 1, fixed: 40, parts: [part, new Part(10, { policy: "never" })] });
  await expect(budget.takeRoom(51, "segment x")).rejects.toMatchObject({
    kind: "memory_limit",
    message: expect.stringContaining("segment x needs 51 bytes, 90 of this node's 100 are in use"),
  });
  expect(part.isMapped).toBe(false);
  await budget.takeRoom(49, "segment x");
  expect(part.isMapped).toBe(true);
});

test("a copy of what can be mapped takes caches' room, but no other copy's", () => {
  const part = new Part(60);
  const budget = budgetOf({ readAt: 1, cache: 30, parts: [part] });
  expect(budget.tryRoom(41)).toBeUndefined();
  expect(budget.tryRoom(40)).toBeDefined();
  expect(part.isMapped).toBe(false);
});

test("when there is room again, what was read last is copied first, and only what a search reads and may be copied", async () => {
  const isMapped = true;
  const [old, fresh, large] = [new Part(30, { isMapped }), new Part(30, { isMapped }), new Part(90, { isMapped })];
  const always = new Part(5, { isMapped, policy: "always" });
  const unread = new Part(5, { isMapped });
  unread.isSearched = false;
  const budget = budgetOf({ readAt: 1, fixed: 30, parts: [old] }, { readAt: 2, parts: [large, fresh, always, unread] });
  await budget.copySurplus();
  expect([old, fresh, large, always, unread].map((part) => part.isMapped)).toEqual([false, false, true, true, true]);
  expect(budget.memoryBytes()).toBeLessThanOrEqual(LIMIT);
});

test("a copy that cannot be mapped fails no load: another one is mapped, and it is left alone for a while", async () => {
  const [broken, sound] = [new Part(40), new Part(40)];
  broken.isBroken = true;
  const budget = budgetOf({ readAt: 1, parts: [broken] }, { readAt: 2, fixed: 10, parts: [sound] });
  const rooms = await Promise.all([budget.takeRoom(20, "one load"), budget.takeRoom(20, "another")]);
  expect([broken.isMapped, sound.isMapped, broken.moves]).toEqual([false, true, 1]);
  for (const room of rooms) room[Symbol.dispose]();
  // Nothing else could be mapped: that is said at once, and not tried over and over.
  await expect(budget.takeRoom(60, "a load")).rejects.toMatchObject({ kind: "memory_limit" });
  expect(broken.moves).toBe(1);
  manual.now += 10_001;
  await expect(budget.takeRoom(60, "a load")).rejects.toMatchObject({ kind: "memory_limit" });
  expect(broken.moves).toBe(2);
  manual.now += 10_001;
  await expect(budget.takeRoom(60, "a load")).rejects.toMatchObject({ kind: "memory_limit" });
  expect(broken.moves).toBe(2);
  manual.now += 10_001;
  broken.isBroken = false;
  await budget.takeRoom(60, "a load");
  expect(broken.isMapped).toBe(true);
});

test("what cannot be copied to memory keeps nothing else from it", async () => {
  const isMapped = true;
  const [broken, sound] = [new Part(30, { isMapped }), new Part(30, { isMapped })];
  broken.isBroken = true;
  const budget = budgetOf({ readAt: 2, parts: [broken] }, { readAt: 1, parts: [sound] });
  await budget.copySurplus();
  await budget.copySurplus();
  expect([broken.isMapped, sound.isMapped, broken.moves]).toEqual([true, false, 1]);
  manual.now += 10_001;
  broken.isBroken = false;
  await budget.copySurplus();
  expect(broken.isMapped).toBe(false);
});
