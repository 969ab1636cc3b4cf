/** Asks between nodes, in one process and over a real wire: what arrives, what fails, and when. */
import { headers as newHeaders } from "nats";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { isVdbError, VdbError } from "../errors.ts";
import { createLogger } from "../logger.ts";
import { decode, encode } from "../protocol/codec.ts";
import { operation } from "../protocol/operation.ts";
import { systemClock } from "../system-clock.ts";
import { type ThreeNodes, useThreeNodes } from "../testing/three-nodes.ts";
import { useNats } from "../testing/use-nats.ts";
import { Bus, type Call, type Handler, wasUnserved } from "./bus.ts";
import { createNatsTransport } from "./nats-transport.ts";

const anything = { request: z.unknown(), reply: z.unknown(), timeoutMs: 20_000, idempotent: true };
const echo = operation("test.{nodeId}.echo", anything);
const absent = operation("test.absent", anything);
const sum = operation("test.sum", {
  ...anything,
  request: z.strictObject({ terms: z.strictObject({ a: z.int(), b: z.int() }) }),
  reply: z.strictObject({ total: z.int() }),
});
const publicEcho = operation("v2.echo", { ...anything, isPublic: true });

const ROOM = { concurrency: 100, capacity: 100 };
const TO_NODE = { nodeId: "n1" };

let net: ThreeNodes;
/** a serves, b asks, c is one more. */
let a: Bus;
let b: Bus;
let c: Bus;

const logger = createLogger({ level: "silent" });

const nats = useNats();
useThreeNodes(nats, (nodes) => {
  net = nodes;
  [a, b, c] = nodes.buses as [Bus, Bus, Bus];
});

/** Serves echo on a, and waits until everybody knows. */
async function serveEcho(handler: Handler<unknown, unknown>, options = ROOM) {
  const served = a.serve(echo, TO_NODE, handler, options);
  await a.flush();
  return served;
}

async function failure(promise: Promise<unknown>): Promise<VdbError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof VdbError) return error;
    throw error;
  }
  throw new Error("it did not fail");
}

/** A promise and its settling, for handlers that wait for the test. */
function gate() {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

/** A map of one entry, of which nothing follows. */
const CUT_SHORT = Uint8Array.of(0x81);

const subjectOf = (name: string) => `${net.prefix}.${name}`;

describe("an ask in one process", () => {
  test("moves nothing over the connection, and hands over the payload itself", async () => {
    const payload = { vectors: new Float32Array(100_000) };
    await serveEcho((request) => request);
    const before = net.transports[0]!.traffic();
    for (let i = 0; i < 100; i++) expect(await a.ask(echo, TO_NODE, payload)).toBe(payload);
    expect(net.transports[0]!.traffic()).toEqual(before);
  });

  test("throws what the handler threw, ends at its deadline, and ends when its signal aborts", async () => {
    const { open, opened } = gate();
    await serveEcho(async (request) => {
      if (request === "fail") throw new VdbError("collection_not_found", "no such collection");
      await opened;
    });
    expect((await failure(a.ask(echo, TO_NODE, "fail"))).kind).toBe("collection_not_found");
    expect((await failure(a.ask(echo, TO_NODE, "wait", { deadline: systemClock.monotonic() + 20 }))).kind).toBe(
      "deadline_exceeded",
    );
    const controller = new AbortController();
    const asked = failure(a.ask(echo, TO_NODE, "wait", { signal: controller.signal }));
    controller.abort();
    expect((await asked).kind).toBe("canceled");
    open();
  });

  test("is seen by the handler with the caller's deadline and signal", async () => {
    const calls: Call[] = [];
    await serveEcho((_, call) => void calls.push(call));
    const deadline = systemClock.monotonic() + 5_000;
    const { signal } = new AbortController();
    await a.ask(echo, TO_NODE, null, { deadline, signal });
    expect(calls).toEqual([{ deadline, signal }]);
  });

  test("is not worked on once its deadline has passed", async () => {
    let calls = 0;
    await serveEcho(() => void calls++);
    expect((await failure(a.ask(echo, TO_NODE, null, { deadline: systemClock.monotonic() - 1 }))).kind).toBe(
      "deadline_exceeded",
    );
    expect(calls).toBe(0);
  });
});

describe("an ask to another process", () => {
  test("carries typed arrays, bigints and text both ways as they are", async () => {
    const payload = {
      floats: Float32Array.of(0.1, -0, Infinity),
      words: Uint32Array.of(1, 2 ** 32 - 1),
      longs: BigInt64Array.of(-1n, 2n ** 62n),
      bytes: Uint8Array.of(0, 255),
      doubles: Float64Array.of(Math.PI),
      nothing: new Float32Array(0),
      ts: 2n ** 61n,
      text: "漢😀",
      list: [null, true, -1.5],
    };
    let received: unknown;
    await serveEcho((request) => {
      received = request;
      return request;
    });
    const reply = await b.ask(echo, TO_NODE, payload);
    for (const value of [received, reply] as (typeof payload)[]) {
      expect({ ...value, bytes: Uint8Array.from(value.bytes) }).toEqual(payload);
      expect(value.floats).toBeInstanceOf(Float32Array);
    }
    expect(received).not.toBe(payload);
  });

  test("brings errors back whole", async () => {
    const error = new VdbError("parameter_too_large", "limit is 16384, got 20000", {
      details: { limit: 16_384, field: "topK", isPart: false, of: null },
    });
    await serveEcho(() => {
      throw error;
    });
    const received = await failure(b.ask(echo, TO_NODE, null));
    expect({ kind: received.kind, code: received.code, message: received.message, details: received.details }).toEqual({
      kind: error.kind,
      code: 1102,
      message: error.message,
      details: error.details,
    });
  });

  test("brings a bug back as an internal error, and a kind that only a newer peer knows too, under its name", async () => {
    await serveEcho((request) => {
      if (request === "bug") throw new TypeError("x is not a function");
      throw Object.assign(new VdbError("internal", "too many moons"), {
        toWire: () => ({ kind: "lunar", message: "too many moons" }),
      });
    });
    const bug = await failure(b.ask(echo, TO_NODE, "bug"));
    expect([bug.kind, bug.message]).toEqual(["internal", "x is not a function"]);
    const newer = await failure(b.ask(echo, TO_NODE, "newer"));
    expect([newer.kind, newer.message]).toEqual(["internal", "lunar: too many moons"]);
  });

  test("that nobody serves fails at once", async () => {
    const started = systemClock.monotonic();
    const error = await failure(b.ask(absent, {}, null));
    expect([error.kind, error.retriable, wasUnserved(error)]).toEqual(["node_not_found", true, true]);
    await serveEcho(() => {
      throw new VdbError("node_not_found", "another node is gone");
    });
    expect(wasUnserved(await failure(b.ask(echo, TO_NODE, null)))).toBe(false);
    expect(systemClock.monotonic() - started).toBeLessThan(absent.timeoutMs / 2);
  });

  test("gives the callee the time that the caller has left", async () => {
    const left: number[] = [];
    await serveEcho((_, { deadline }) => void left.push(deadline - systemClock.monotonic()));
    await b.ask(echo, TO_NODE, null, { deadline: systemClock.monotonic() + 5_000 });
    await b.ask(echo, TO_NODE, null);
    expect(left[0]).toBeGreaterThan(0);
    expect(left[0]).toBeLessThanOrEqual(5_000);
    expect(left[1]).toBeGreaterThan(5_000);
    expect(left[1]).toBeLessThanOrEqual(echo.timeoutMs);
  });

  test("ends at its deadline when no answer comes, and a late answer harms nobody", async () => {
    const { open, opened } = gate();
    await serveEcho(async (request) => {
      if (request === "slow") await opened;
      return request;
    });
    expect((await failure(b.ask(echo, TO_NODE, "slow", { deadline: systemClock.monotonic() + 30 }))).kind).toBe(
      "deadline_exceeded",
    );
    open();
    expect(await b.ask(echo, TO_NODE, "next")).toBe("next");
  });

  test("is not worked on when its deadline passed while it waited in the mailbox", async () => {
    const { open, opened } = gate();
    const worked: unknown[] = [];
    await serveEcho(
      async (request) => {
        worked.push(request);
        await opened;
      },
      { concurrency: 1, capacity: 10 },
    );
    const first = b.ask(echo, TO_NODE, "first");
    const allowance = 50;
    expect((await failure(b.ask(echo, TO_NODE, "late", { deadline: systemClock.monotonic() + allowance }))).kind).toBe(
      "deadline_exceeded",
    );
    // The callee counts what the caller had left from the moment of receipt, so its deadline is later than the caller's.
    // Once both connections are flushed it has received the message: one allowance more and its deadline has passed too.
    await b.flush();
    await a.flush();
    await systemClock.sleep(2 * allowance);
    const last = b.ask(echo, TO_NODE, "last");
    open();
    await Promise.all([first, last]);
    expect(worked).toEqual(["first", "last"]);
  });

  test("whose deadline has passed is not even sent", async () => {
    await serveEcho((request) => request);
    await b.flush();
    const before = net.transports[1]!.traffic().sentBytes;
    expect((await failure(b.ask(echo, TO_NODE, null, { deadline: systemClock.monotonic() - 1 }))).kind).toBe(
      "deadline_exceeded",
    );
    expect(net.transports[1]!.traffic().sentBytes).toBe(before);
  });

  test("ends when its signal aborts, before and while it waits", async () => {
    const { open, opened } = gate();
    await serveEcho(() => opened);
    const controller = new AbortController();
    const asked = failure(b.ask(echo, TO_NODE, null, { signal: controller.signal }));
    controller.abort();
    expect((await asked).kind).toBe("canceled");
    expect((await failure(b.ask(echo, TO_NODE, null, { signal: controller.signal }))).kind).toBe("canceled");
    open();
  });

  test("is refused at once when the mailbox is full", async () => {
    const { open, opened } = gate();
    await serveEcho(() => opened, { concurrency: 1, capacity: 1 });
    const taken = [b.ask(echo, TO_NODE, 1), b.ask(echo, TO_NODE, 2)];
    expect((await failure(b.ask(echo, TO_NODE, 3))).kind).toBe("overloaded");
    open();
    await Promise.all(taken);
  });

  test("that is not valid names the field, and does not reach the handler", async () => {
    let calls = 0;
    a.serve(
      sum,
      {},
      ({ terms }) => {
        calls++;
        return { total: terms.a + terms.b };
      },
      ROOM,
    );
    await a.flush();
    const error = await failure(b.ask(sum, {}, { terms: { a: 1, b: "2" } } as never));
    expect(error.kind).toBe("invalid_parameter");
    expect(error.message).toContain("terms.b");
    expect((await failure(b.ask(sum, {}, { terms: { a: 1, b: 2 }, c: 3 } as never))).message).toContain("c");
    expect(calls).toBe(0);
    expect(await b.ask(sum, {}, { terms: { a: 1, b: 2 } })).toEqual({ total: 3 });
  });

  test("of bytes that are no message is answered as malformed", async () => {
    await serveEcho((request) => request);
    const headers = newHeaders();
    const reply = await nats.connections.wal.request(subjectOf("test.n1.echo"), CUT_SHORT, {
      timeout: 20_000,
      headers,
    });
    expect(reply.headers?.get("Vdb-Error")).toBe("1");
    expect(decode(reply.data)).toMatchObject({ kind: "malformed_request" });
  });

  test("fails by itself when the reply is no message: the connection goes on", async () => {
    const subscription = nats.connections.bulk.subscribe(subjectOf("test.n1.echo"), {
      callback: (_, message) => {
        const headers = newHeaders();
        headers.set("Vdb-Error", "1");
        headers.set("Vdb-Chunk", "-7/3");
        message.respond(CUT_SHORT, { headers });
        headers.delete("Vdb-Chunk");
        message.respond(CUT_SHORT, { headers });
      },
    });
    await nats.connections.bulk.flush();
    await expect(b.ask(echo, TO_NODE, null)).rejects.toThrow();
    subscription.unsubscribe();
    await nats.connections.bulk.flush();
    await serveEcho((request) => request);
    expect(await b.ask(echo, TO_NODE, "still here")).toBe("still here");
  });

  test("gets its own answer among many", async () => {
    await serveEcho(async (request) => {
      await systemClock.sleep(Number(request) % 5);
      return request;
    });
    const replies = await Promise.all(Array.from({ length: 100 }, (_, i) => b.ask(echo, TO_NODE, i)));
    expect(replies).toEqual(Array.from({ length: 100 }, (_, i) => i));
  });
});

describe("large messages", () => {
  const big = () => {
    const values = new Float64Array((20 * 1024 * 1024) / 8);
    for (let i = 0; i < values.length; i += 1000) values[i] = i;
    return values;
  };

  test("of 20 MB go both ways", async () => {
    expect(net.transports[0]!.maxPayload).toBeLessThan(20 * 1024 * 1024);
    const payload = big();
    let received = 0;
    await serveEcho((request) => {
      received = (request as Float64Array).length;
      return request;
    });
    const reply = (await b.ask(echo, TO_NODE, payload)) as Float64Array;
    expect(received).toBe(payload.length);
    expect(
      Buffer.compare(Buffer.from(reply.buffer, reply.byteOffset, reply.byteLength), Buffer.from(payload.buffer)),
    ).toBe(0);
  });

  /** A bus whose messages do not all arrive. */
  function lossy(isLost: (chunk: string) => boolean): Bus {
    const transport = createNatsTransport(nats.connections.control, `_INBOX_${net.prefix}`, logger);
    const bus = new Bus({
      transport: {
        ...transport,
        publish(subject, data, options) {
          if (!isLost(options?.headers?.["Vdb-Chunk"] ?? "")) transport.publish(subject, data, options);
        },
      },
      clock: systemClock,
      logger,
      prefix: net.prefix,
    });
    net.buses.push(bus);
    return bus;
  }

  test("of which a part is lost end at the deadline, request or reply", async () => {
    const bus = lossy((chunk) => chunk.startsWith("1/"));
    let calls = 0;
    bus.serve(
      echo,
      TO_NODE,
      () => {
        calls++;
        return big();
      },
      ROOM,
    );
    await bus.flush();
    expect((await failure(b.ask(echo, TO_NODE, null, { deadline: systemClock.monotonic() + 3_000 }))).kind).toBe(
      "deadline_exceeded",
    );
    // Where the machine stood still, the deadline may have passed before the request was read.
    await expect.poll(() => calls).toBe(1);

    c.serve(echo, { nodeId: "n2" }, () => void calls++, ROOM);
    await c.flush();
    const asked = bus.ask(echo, { nodeId: "n2" }, big(), { deadline: systemClock.monotonic() + 500 });
    expect((await failure(asked)).kind).toBe("deadline_exceeded");
    expect(calls).toBe(1);
  });

  test("that a plain client could not join are refused", async () => {
    await serveEcho(() => big());
    const reply = await nats.connections.wal.request(subjectOf("test.n1.echo"), encode(null), { timeout: 60_000 });
    expect(decode(reply.data)).toMatchObject({ kind: "parameter_too_large" });
  });

  test("to a queue group are refused, since its members would share the parts", async () => {
    a.serve(publicEcho, {}, (request) => request, { ...ROOM, queue: "g" });
    await a.flush();
    expect((await failure(b.ask(publicEcho, {}, { values: big() }))).kind).toBe("parameter_too_large");
  });
});

describe("serving", () => {
  test("answers what was taken when it drains, and nothing after", async () => {
    const { open, opened } = gate();
    let taken = 0;
    const all = gate();
    const served = await serveEcho(
      async (request) => {
        if (++taken === 1) all.open();
        await opened;
        return request;
      },
      { concurrency: 1, capacity: 10 },
    );
    const asks = [1, 2, 3].map((i) => b.ask(echo, TO_NODE, i));
    await b.flush();
    await all.opened;
    // The three came as one; that the first is handled says that the others are in the mailbox.
    await a.flush();
    const drained = served.drain();
    await a.flush();
    expect((await failure(b.ask(echo, TO_NODE, 4))).kind).toBe("node_not_found");
    open();
    await drained;
    await a.flush();
    expect(await Promise.all(asks)).toEqual([1, 2, 3]);
    expect((await failure(a.ask(echo, TO_NODE, 5))).kind).toBe("node_not_found");
  });

  test("may begin again after a drain, but not twice at a time", async () => {
    const served = await serveEcho(() => "first");
    expect(() => a.serve(echo, TO_NODE, () => "second", ROOM)).toThrow("served twice");
    await served.drain();
    await serveEcho(() => "second");
    expect([await a.ask(echo, TO_NODE, null), await b.ask(echo, TO_NODE, null)]).toEqual(["second", "second"]);
  });

  test("hears what it is told, near and far, and its failures harm nobody", async () => {
    const heard: unknown[] = [];
    const both = gate();
    await serveEcho((request) => {
      heard.push(request);
      if (heard.length === 2) both.open();
      throw new Error("nobody is told of it");
    });
    a.tell(echo, TO_NODE, "near");
    b.tell(echo, TO_NODE, "far");
    b.tell(absent, {}, "nobody");
    await both.opened;
    expect(new Set(heard)).toEqual(new Set(["far", "near"]));
  });

  test("counts requests, errors and time", async () => {
    const { stats } = await serveEcho(async (request) => {
      if (request === "fail") throw new VdbError("not_ready", "not yet");
      await systemClock.sleep(2);
    });
    await b.ask(echo, TO_NODE, null);
    await a.ask(echo, TO_NODE, null);
    await failure(b.ask(echo, TO_NODE, "fail"));
    expect(stats).toMatchObject({ requests: 3, errors: 1, lastError: "not yet" });
    expect(stats.processingMs).toBeGreaterThan(1);
  });

  test("ends with the bus: whoever waits is told", async () => {
    const { open, opened } = gate();
    await serveEcho(() => opened);
    const asked = failure(b.ask(echo, TO_NODE, null));
    b.close();
    expect((await asked).kind).toBe("canceled");
    open();
  });
});

test("an error of any kind is known by its class on the other side", async () => {
  await serveEcho(() => {
    throw new VdbError("channel_fenced", "a newer owner has the channel");
  });
  const error: unknown = await b.ask(echo, TO_NODE, null).catch((reason: unknown) => reason);
  expect(isVdbError(error, "channel_fenced")).toBe(true);
});
