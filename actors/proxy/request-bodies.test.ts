import { once } from "node:events";
import { PassThrough } from "node:stream";
import { describe, expect, test } from "vitest";
import { ManualClock } from "../../runtime/testing/manual-clock.ts";
import { BODY_MS, Body, BodyBudget, readPieces } from "./request-bodies.ts";

const clock = new ManualClock();

describe("the bodies of a proxy", () => {
  test("count as they arrive, until their requests are answered", () => {
    const budget = new BodyBudget(10);
    const [one, other] = [new Body(budget), new Body(budget)];
    one.announce(8);
    other.announce(8);
    one.add(Buffer.alloc(6));
    expect(budget.held).toBe(6);
    other.add(Buffer.alloc(4));
    expect(() => other.add(Buffer.alloc(1))).toThrowError(/rate limit exceeded\[limit=proxy.bodiesBytesMax\]/);
    one.release();
    one.release();
    other.add(Buffer.alloc(4));
    expect([budget.held, other.isComplete]).toEqual([8, true]);
    other.release();
    expect(budget.held).toBe(0);
  });

  test("are refused as they are announced when there is no room, with a time to come again", () => {
    const body = new Body(new BodyBudget(10));
    expect(() => body.announce(11)).toThrowError(
      expect.objectContaining({
        kind: "rate_limited",
        retriable: true,
        details: expect.objectContaining({ retryAfterMs: 1000 }),
      }),
    );
  });

  test.each([
    ["a piece", 3, ["abc"]],
    ["pieces of a known length", 6, ["ab", "cd", "ef"]],
    ["pieces of an unknown length", undefined, ["ab", "cd", "ef"]],
    ["nothing", undefined, []],
  ])("are what came: %s", async (_, length, pieces) => {
    const body = new Body(new BodyBudget(100));
    if (length !== undefined) body.announce(length);
    for (const piece of pieces) body.add(Buffer.from(piece));
    expect((await body.bytes(clock)).toString()).toBe(pieces.join(""));
  });

  test("have an end, however steadily they come", async () => {
    const stream = new PassThrough();
    const reading = readPieces(stream, clock, BODY_MS, () => false);
    const refused = expect(reading).rejects.toMatchObject({ kind: "deadline_exceeded" });
    for (let at = 0; at < BODY_MS; at += BODY_MS / 4) {
      stream.write("a byte");
      await clock.advance(BODY_MS / 4);
    }
    await refused;
    expect([clock.pending, stream.listenerCount("data")]).toEqual([0, 0]);
  });

  test("that break off are given up", async () => {
    const stream = new PassThrough();
    const reading = readPieces(stream, clock, BODY_MS, () => false);
    stream.destroy();
    await expect(reading).rejects.toMatchObject({ kind: "canceled" });
  });

  test("that have broken off before they are read are given up", async () => {
    const stream = new PassThrough();
    const closed = once(stream, "close");
    stream.destroy();
    await closed;
    await expect(readPieces(stream, clock, BODY_MS, () => false)).rejects.toMatchObject({ kind: "canceled" });
  });
});
