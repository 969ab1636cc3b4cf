import { describe, expect, test } from "vitest";
import { AppendQueue, type PendingAppend } from "./append-queue.ts";
import { recordBytes } from "./record.ts";

const pending = (requestId: string, bytes: number, deadline = 1_000): PendingAppend => ({
  body: { vchannel: "v", requestId, operation: "insert", partitionId: 0, schemaVersion: 1 },
  bytes: new Uint8Array(bytes),
  version: 1,
  deadline,
  resolve: () => undefined,
  reject: () => undefined,
});

const MESSAGE_BYTES_MAX = 8 << 20;

const ids = (appends: PendingAppend[] | undefined): string[] => (appends ?? []).map(({ body }) => body.requestId);

describe("a queue of appends", () => {
  test("gives groups of one kind, in turn, in the order of arrival", () => {
    const queue = new AppendQueue();
    for (const id of ["a", "b"]) queue.push("ins", pending(id, 10));
    for (const id of ["c", "d"]) queue.push("mut", pending(id, 10));
    expect(queue.take(MESSAGE_BYTES_MAX)).toMatchObject({ kind: "ins" });
    queue.push("ins", pending("e", 10));
    const second = queue.take(MESSAGE_BYTES_MAX);
    expect([second?.kind, ids(second?.appends)]).toEqual(["mut", ["c", "d"]]);
    expect(ids(queue.take(MESSAGE_BYTES_MAX)?.appends)).toEqual(["e"]);
    expect(queue.take(MESSAGE_BYTES_MAX)).toBeNull();
  });

  test("fills a group up to 1 MiB or 2,000 appends, and takes a larger one alone", () => {
    const queue = new AppendQueue();
    queue.push("ins", pending("large", 2 << 20));
    for (let i = 0; i < 5; i++) queue.push("ins", pending(`m${i}`, 300 << 10));
    for (let i = 0; i < 2_500; i++) queue.push("mut", pending(`s${i}`, 1));
    expect(ids(queue.take(MESSAGE_BYTES_MAX)?.appends)).toEqual(["large"]);
    expect(queue.take(MESSAGE_BYTES_MAX)?.appends).toHaveLength(2_000);
    expect(ids(queue.take(MESSAGE_BYTES_MAX)?.appends)).toEqual(["m0", "m1", "m2"]);
    expect(queue.take(MESSAGE_BYTES_MAX)?.appends).toHaveLength(500);
    expect(ids(queue.take(MESSAGE_BYTES_MAX)?.appends)).toEqual(["m3", "m4"]);
  });

  test("fills no message with more than the log takes", () => {
    const queue = new AppendQueue();
    const small = 100_000;
    for (let i = 0; i < 3_500; i++) queue.push("ins", pending(`r${i}`, 300));
    let count = 0;
    for (let group = queue.take(small); group !== null; group = queue.take(small)) {
      const bytes = group.appends.reduce((sum, each) => sum + each.bytes.length, 0);
      expect(recordBytes(group.appends.length, bytes)).toBeLessThanOrEqual(small);
      count += group.appends.length;
    }
    expect(count).toBe(3_500);
    queue.push("mut", pending("large", 2 * small));
    queue.push("mut", pending("next", 10));
    expect(ids(queue.take(small)?.appends)).toEqual(["large"]);
  });

  test("counts what was taken until it is released", () => {
    const queue = new AppendQueue();
    for (let i = 0; i < 64; i++) queue.push("ins", pending(`r${i}`, 1 << 20));
    const full = expect.objectContaining({ kind: "rate_limited" });
    expect(() => queue.push("mut", pending("x", 1))).toThrow(full);
    const group = queue.take(MESSAGE_BYTES_MAX)!;
    expect(() => queue.push("mut", pending("x", 1))).toThrow(full);
    queue.release(group.appends);
    queue.push("mut", pending("x", 1 << 20));
    expect(() => queue.push("mut", pending("y", 1))).toThrow(full);
  });

  test("is full at 50,000 appends of any size", () => {
    const queue = new AppendQueue();
    for (let i = 0; i < 50_000; i++) queue.push("ins", pending("r", 1));
    expect(() => queue.push("ins", pending("r", 1))).toThrow(expect.objectContaining({ kind: "rate_limited" }));
    expect(queue.takeAll()).toHaveLength(50_000);
    queue.push("ins", pending("r", 1));
  });

  test("puts a group back in front", () => {
    const queue = new AppendQueue();
    for (const id of ["a", "b"]) queue.push("ins", pending(id, 10));
    const group = queue.take(MESSAGE_BYTES_MAX)!;
    queue.push("ins", pending("c", 10));
    queue.putBack(group);
    expect(ids(queue.take(MESSAGE_BYTES_MAX)?.appends)).toEqual(["a", "b", "c"]);
  });

  test("gives out what is past its deadline, of both kinds", () => {
    const queue = new AppendQueue();
    queue.push("ins", pending("a", 10, 5));
    queue.push("ins", pending("b", 10, 50));
    queue.push("mut", pending("c", 10, 10));
    expect(ids(queue.takeExpired(10))).toEqual(["a", "c"]);
    expect(ids(queue.takeExpired(10))).toEqual([]);
    expect(ids(queue.takeAll())).toEqual(["b"]);
  });
});
