import { describe, expect, it } from "vitest";
import { Bus } from "../runtime/bus/bus.ts";
import type { Clock } from "../runtime/clock.ts";
import { VdbError } from "../runtime/errors.ts";
import { createLogger } from "../runtime/logger.ts";
import { errorBody, errorOfBody, httpPath, insertEntities, searchEntities } from "../runtime/protocol/public.ts";
import { Slots } from "../runtime/slots.ts";
import { systemClock, systemRandom } from "../runtime/system-clock.ts";
import { DEAD_WIRE } from "../runtime/testing/dead-wire.ts";
import { ManualClock } from "../runtime/testing/manual-clock.ts";
import { type Caller, callPublic, DOUBLED_MAX } from "./call.ts";

type Answer = object | VdbError | Promise<object>;

/** A database that answers by a script, and the requests it got. */
function scripted(...answers: Answer[]): { caller: Caller; requests: unknown[] } {
  return scriptedBy(systemClock, answers);
}

function scriptedBy(clock: Clock, answers: Answer[]): { caller: Caller; requests: unknown[] } {
  const logger = createLogger({ level: "silent" });
  const bus = new Bus({ transport: DEAD_WIRE, clock, logger, prefix: "test" });
  const requests: unknown[] = [];
  const handler = async (request: unknown) => {
    requests.push(request);
    const answer = await (answers.shift() ?? {});
    if (answer instanceof VdbError) throw answer;
    return { ...answer };
  };
  bus.serve(insertEntities, {}, handler, { concurrency: 20, capacity: 10 });
  return { caller: { bus, clock, random: systemRandom, doubles: new Slots(DOUBLED_MAX) }, requests };
}

function deferred(): { promise: Promise<object>; resolve: (answer: object) => void } {
  let resolve: (answer: object) => void = () => undefined;
  const promise = new Promise<object>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

const OK = { code: 0, data: { insertCount: 1 } };
const BODY = { collectionName: "c", requestId: "r" };

function call(caller: Caller, options: { timeoutMs?: number; mayRepeat?: boolean } = {}): Promise<unknown> {
  const { timeoutMs = 10_000, mayRepeat = true } = options;
  return callPublic(caller, insertEntities, BODY, { timeoutMs, mayRepeatUnanswered: () => Promise.resolve(mayRepeat) });
}

describe("callPublic", () => {
  it("sends the same request again after errors that can pass, thrown or in the body", async () => {
    const { caller, requests } = scripted(
      new VdbError("overloaded", "later"),
      errorBody(new VdbError("not_ready", "not yet")),
      OK,
    );
    expect(await call(caller)).toEqual(OK);
    expect(requests).toEqual([BODY, BODY, BODY]);
  });

  it("throws what the body says, with its code", async () => {
    const { caller, requests } = scripted({ code: 1804, message: "row 3", details: { row: 3 } });
    await expect(call(caller)).rejects.toMatchObject({
      kind: "invalid_insert_data",
      message: "row 3",
      details: { row: 3 },
    });
    expect(requests.length).toBe(1);
  });

  it("hands back the ids that rows were given before a failure", async () => {
    const failure = new VdbError("unavailable", "shard 1 is away", { details: { firstId: 500 } });
    const { caller, requests } = scripted(failure, OK);
    await call(caller);
    expect(requests).toEqual([BODY, { ...BODY, firstId: 500 }]);
  });

  it.each(["deadline_exceeded", "unavailable"] as const)(
    "does not repeat a request of unknown outcome (%s) unless it may",
    async (kind) => {
      const unanswered = new VdbError(kind, "no answer");
      const strict = scripted(unanswered, OK);
      await expect(call(strict.caller, { mayRepeat: false })).rejects.toMatchObject({ kind });
      expect(strict.requests.length).toBe(1);
      const free = scripted(unanswered, OK);
      expect(await call(free.caller)).toEqual(OK);
    },
  );

  it("is sent again while it is not answered, and takes the answer that comes first", async () => {
    const clock = new ManualClock();
    const never = new Promise<object>(() => undefined);
    const dead = scriptedBy(clock, [never, OK]);
    const answered = call(dead.caller);
    await clock.advance(1_900);
    expect(dead.requests).toEqual([BODY]);
    await clock.advance(100);
    expect(await answered).toEqual(OK);
    expect(dead.requests).toEqual([BODY, BODY]);

    let answerFirst: (reply: object) => void = () => undefined;
    const slow = new Promise<object>((resolve) => {
      answerFirst = resolve;
    });
    const long = scriptedBy(clock, [slow, never]);
    const late = call(long.caller);
    await clock.advance(3_000);
    answerFirst(OK);
    expect(await late).toEqual(OK);
    expect(long.requests.length).toBe(2);
  });

  it("is not sent again before it is answered when it may not be repeated", async () => {
    const clock = new ManualClock();
    const { caller, requests } = scriptedBy(clock, [new Promise<object>(() => undefined), OK]);
    const refused = expect(call(caller, { mayRepeat: false })).rejects.toMatchObject({ kind: "deadline_exceeded" });
    await clock.advance(10_000);
    await refused;
    expect(requests.length).toBe(1);
  });

  it("is answered though it cannot be found out whether it may be repeated", async () => {
    const clock = new ManualClock();
    const slow = deferred();
    const { caller, requests } = scriptedBy(clock, [slow.promise]);
    const mayRepeatUnanswered = () => new Promise<boolean>(() => undefined);
    const answered = callPublic(caller, insertEntities, BODY, { timeoutMs: 60_000, mayRepeatUnanswered });
    await clock.advance(3_000);
    slow.resolve(OK);
    expect(await answered).toEqual(OK);
    expect(requests.length).toBe(1);

    const failing = scriptedBy(clock, [new VdbError("unavailable", "no answer"), OK]);
    const unknown = { timeoutMs: 60_000, mayRepeatUnanswered: () => Promise.reject(new Error("no answer either")) };
    await expect(callPublic(failing.caller, insertEntities, BODY, unknown)).rejects.toMatchObject({
      kind: "unavailable",
    });
  });

  it("of many calls that are not answered, doubles a few at a time", async () => {
    const clock = new ManualClock();
    const slow = Array.from({ length: 12 }, () => deferred());
    const { caller, requests } = scriptedBy(
      clock,
      slow.map(({ promise }) => promise),
    );
    const calls = Array.from({ length: 6 }, () => call(caller));
    await clock.advance(2_500);
    expect(requests.length).toBe(6 + 4);
    // An answer ends a call, and the next one gets its turn.
    slow[6]!.resolve(OK);
    await clock.settle();
    expect(requests.length).toBe(6 + 5);
    for (const { resolve } of slow) resolve(OK);
    expect(await Promise.all(calls)).toEqual(calls.map(() => OK));
  });

  it("says at the end of its time why it was refused before, when the last attempt is not answered", async () => {
    const clock = new ManualClock();
    const { caller } = scriptedBy(clock, [
      new VdbError("rate_limited", "the log is full"),
      new Promise<object>(() => undefined),
    ]);
    const refused = expect(call(caller, { timeoutMs: 1_000 })).rejects.toMatchObject({
      kind: "deadline_exceeded",
      message: expect.stringMatching(/the log is full/),
    });
    await clock.advance(1_000);
    await refused;
  });

  it("is sent again no earlier than a refusal says", async () => {
    const clock = new ManualClock();
    const refused = new VdbError("rate_limited", "later", { details: { retryAfterMs: 1_500 } });
    const { caller, requests } = scriptedBy(clock, [refused, OK]);
    const answered = call(caller);
    await clock.advance(1_499);
    expect(requests.length).toBe(1);
    await clock.advance(1);
    expect(await answered).toEqual(OK);
  });

  it("gives up when the time is over", async () => {
    const clock = new ManualClock();
    const answers = Array.from({ length: 50 }, () => new VdbError("not_ready", "not yet"));
    const { caller, requests } = scriptedBy(clock, answers);
    const refused = expect(call(caller, { timeoutMs: 60 })).rejects.toMatchObject({ code: 1 });
    await clock.advance(60);
    await refused;
    expect(requests.length).toBeGreaterThan(1);
  });
});

describe("public bodies", () => {
  it("carry an error there and back", () => {
    const error = new VdbError("collection_not_found", "no", { details: { name: "c" } });
    expect(errorOfBody(errorBody(error))).toMatchObject({
      kind: "collection_not_found",
      message: "no",
      details: { name: "c" },
    });
    expect(errorOfBody(OK)).toBeNull();
  });

  it("show a code that this version does not know as internal", () => {
    expect(errorOfBody({ code: 4711, message: "new" })).toMatchObject({ kind: "internal", message: "new" });
  });

  it("name the HTTP path of an operation by its subject", () => {
    expect(httpPath(searchEntities)).toBe("/v2/vectordb/entities/search");
  });
});
