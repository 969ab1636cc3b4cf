import { describe, expect, it } from "vitest";
import { Bus } from "../runtime/bus/bus.ts";
import type { Transport } from "../runtime/bus/port.ts";
import { VdbError } from "../runtime/errors.ts";
import { createLogger } from "../runtime/logger.ts";
import { errorBody, errorOfBody, httpPath, insertEntities, searchEntities } from "../runtime/protocol/public.ts";
import { systemClock, systemRandom } from "../runtime/system-clock.ts";
import { type Caller, callPublic } from "./call.ts";

const DEAD_WIRE: Transport = {
  inbox: "_INBOX.test",
  maxPayload: 1 << 20,
  publish: () => undefined,
  subscribe: () => ({ unsubscribe: () => undefined, drain: () => Promise.resolve() }),
  flush: () => Promise.resolve(),
  onDisconnect: () => undefined,
  traffic: () => ({ sentBytes: 0, receivedBytes: 0 }),
};

/** A database that answers by a script, and the requests it got. */
function scripted(...answers: (object | VdbError)[]): { caller: Caller; requests: unknown[] } {
  const logger = createLogger({ level: "silent" });
  const bus = new Bus({ transport: DEAD_WIRE, clock: systemClock, logger, prefix: "test" });
  const requests: unknown[] = [];
  const handler = (request: unknown) => {
    requests.push(request);
    const answer = answers.shift() ?? {};
    if (answer instanceof VdbError) throw answer;
    return { ...answer };
  };
  bus.serve(insertEntities, {}, handler, { concurrency: 10, capacity: 10 });
  return { caller: { bus, clock: systemClock, random: systemRandom }, requests };
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

  it("gives up when the time is over", async () => {
    const { caller } = scripted(...Array.from({ length: 50 }, () => new VdbError("not_ready", "not yet")));
    await expect(call(caller, { timeoutMs: 60 })).rejects.toMatchObject({ code: 1 });
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
