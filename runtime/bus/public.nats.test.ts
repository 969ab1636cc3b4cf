/** What any NATS client sees of a node: public operations in JSON and MessagePack, and the `$SRV` verbs. */
import { headers as newHeaders } from "nats";
import { beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { VdbError } from "../errors.ts";
import { decode, encode } from "../protocol/codec.ts";
import { operation } from "../protocol/operation.ts";
import { type ThreeNodes, useThreeNodes } from "../testing/three-nodes.ts";
import { useNats } from "../testing/use-nats.ts";
import type { Bus } from "./bus.ts";
import { announceService } from "./services.ts";

const anything = { request: z.unknown(), reply: z.unknown(), timeoutMs: 20_000, idempotent: true };
const echo = operation("test.{nodeId}.echo", anything);
const publicEcho = operation("v2.echo", { ...anything, isPublic: true });

const ROOM = { concurrency: 100, capacity: 100 };
const TO_NODE = { nodeId: "n1" };

let net: ThreeNodes;
/** a serves, b asks, c is one more. */
let a: Bus;
let b: Bus;
let c: Bus;

const nats = useNats();
useThreeNodes(nats, (nodes) => {
  net = nodes;
  [a, b, c] = nodes.buses as [Bus, Bus, Bus];
});

/** A map of one entry, of which nothing follows. */
const CUT_SHORT = Uint8Array.of(0x81);

const subjectOf = (name: string) => `${net.prefix}.${name}`;

describe("a public operation", () => {
  async function request(body: string | Uint8Array, contentType?: string) {
    const headers = newHeaders();
    if (contentType !== undefined) headers.set("Content-Type", contentType);
    const options = contentType === undefined ? { timeout: 20_000 } : { timeout: 20_000, headers };
    const reply = await nats.connections.wal.request(subjectOf("v2.echo"), body, options);
    expect(reply.headers?.get("Vdb-Error")).toBe("");
    return { type: reply.headers?.get("Content-Type"), data: reply.data, text: reply.string() };
  }

  beforeEach(async () => {
    a.serve(
      publicEcho,
      {},
      (body) => {
        if ((body as { fail?: boolean }).fail)
          throw new VdbError("collection_not_found", "can't find collection", { details: { name: "c" } });
        return { code: 0, data: body };
      },
      { ...ROOM, queue: "proxies" },
    );
    await a.flush();
  });

  test("speaks JSON with a plain client, 64-bit integers exact", async () => {
    const { type, text } = await request('{"id":9223372036854775807,"x":[0.5,"é"]}');
    expect(type).toBe("application/json");
    expect(text).toBe('{"code":0,"data":{"id":9223372036854775807,"x":[0.5,"é"]}}');
    expect((await request("")).text).toBe('{"code":0,"data":{}}');
    expect((await request('{"a":1}', "application/json; charset=utf-8")).text).toBe('{"code":0,"data":{"a":1}}');
  });

  test("speaks MessagePack with who asks in it", async () => {
    const { type, data } = await request(encode({ vector: Float32Array.of(1, 2) }), "application/msgpack");
    expect(type).toBe("application/msgpack");
    expect(decode(data)).toEqual({ code: 0, data: { vector: Float32Array.of(1, 2) } });
  });

  test("answers errors in the body, in the caller's language", async () => {
    const expected = { code: 100, message: "can't find collection", details: { name: "c" } };
    expect(JSON.parse((await request('{"fail":true}')).text)).toEqual(expected);
    expect(decode((await request(encode({ fail: true }), "application/msgpack")).data)).toEqual(expected);
    expect(await b.ask(publicEcho, {}, { fail: true })).toEqual(expected);
  });

  test("says in JSON what it cannot read", async () => {
    for (const [body, type] of [["{not json"], ["<a/>", "text/xml"]]) {
      const reply = await request(body!, type);
      expect(reply.type).toBe("application/json");
      expect(JSON.parse(reply.text)).toMatchObject({ code: 1801 });
    }
    expect(decode((await request(CUT_SHORT, "application/msgpack")).data)).toMatchObject({ code: 1801 });
  });

  test("is shared by the members of its queue group, each request going to one", async () => {
    let others = 0;
    c.serve(
      publicEcho,
      {},
      (body) => {
        others++;
        return { code: 0, data: body };
      },
      { ...ROOM, queue: "proxies" },
    );
    await c.flush();
    const asks = Array.from({ length: 200 }, (_, i) => b.ask(publicEcho, {}, { i }));
    const replies = (await Promise.all(asks)) as { data: { i: number } }[];
    expect(replies.map(({ data }) => data.i)).toEqual(Array.from({ length: 200 }, (_, i) => i));
    expect(others).toBeGreaterThan(0);
    expect(others).toBeLessThan(200);
  });
});

/** As NATS's services protocol (ADR-32) says that they must be. */
const Identity = {
  name: z.string().regex(/^[\w-]+$/),
  id: z.string().min(1),
  version: z.string().regex(/^\d+\.\d+\.\d+/),
  metadata: z.record(z.string(), z.string()),
};
const Endpoint = { name: z.string().regex(/^[\w-]+$/), subject: z.string().min(1) };
const Ping = z.object({ type: z.literal("io.nats.micro.v1.ping_response"), ...Identity });
const Info = z.object({
  type: z.literal("io.nats.micro.v1.info_response"),
  ...Identity,
  description: z.string(),
  endpoints: z.array(z.object({ ...Endpoint, metadata: z.record(z.string(), z.string()) })),
});
const Stats = z.object({
  type: z.literal("io.nats.micro.v1.stats_response"),
  ...Identity,
  started: z.iso.datetime(),
  endpoints: z.array(
    z.object({
      ...Endpoint,
      num_requests: z.int().min(0),
      num_errors: z.int().min(0),
      last_error: z.string(),
      processing_time: z.int().min(0),
      average_processing_time: z.int().min(0),
    }),
  ),
});

describe("the services protocol", () => {
  test("answers PING, INFO and STATS to all, to the service and to the instance", async () => {
    const handler = (request: unknown) => {
      if (request === "fail") throw new VdbError("not_ready", "not yet");
    };
    const served = a.serve(echo, TO_NODE, handler, ROOM);
    const name = `${net.prefix}-query`;
    const service = {
      name,
      id: "node1",
      version: "0.1.0",
      description: "a query node",
      startedAt: new Date(0),
      endpoints: () => [served],
    };
    const announced = announceService(net.transports[0]!, service);
    await a.flush();
    await b.ask(echo, TO_NODE, null);
    await expect(b.ask(echo, TO_NODE, "fail")).rejects.toMatchObject({ kind: "not_ready" });
    const ask = async (subject: string): Promise<unknown> =>
      (await nats.connections.wal.request(subject, "", { timeout: 20_000 })).json();

    for (const scope of ["", `.${name}`, `.${name}.node1`]) {
      expect(Ping.parse(await ask(`$SRV.PING${scope}`))).toMatchObject({ name, id: "node1", version: "0.1.0" });
      const endpoint = { name: "test-n1-echo", subject: subjectOf("test.n1.echo") };
      expect(Info.parse(await ask(`$SRV.INFO${scope}`))).toMatchObject({
        description: "a query node",
        endpoints: [endpoint],
      });
      const stats = Stats.parse(await ask(`$SRV.STATS${scope}`));
      expect(stats).toMatchObject({
        started: "1970-01-01T00:00:00.000Z",
        endpoints: [{ ...endpoint, num_requests: 2, num_errors: 1, last_error: "not yet" }],
      });
    }

    announced[Symbol.dispose]();
    await a.flush();
    await expect(ask(`$SRV.PING.${name}`)).rejects.toThrow();
  });

  test("gives one answer from each instance", async () => {
    const service = (id: string) => ({
      name: `${net.prefix}-data`,
      id,
      version: "0.1.0",
      description: "",
      startedAt: new Date(),
      endpoints: () => [],
    });
    const announced = [
      announceService(net.transports[0]!, service("x")),
      announceService(net.transports[2]!, service("y")),
    ];
    await Promise.all([a.flush(), c.flush()]);
    const answers = await nats.connections.wal.requestMany(`$SRV.PING.${net.prefix}-data`, "", {
      strategy: "count",
      maxMessages: 2,
      maxWait: 20_000,
    });
    const ids: string[] = [];
    for await (const answer of answers) ids.push(Ping.parse(answer.json()).id);
    expect(new Set(ids)).toEqual(new Set(["x", "y"]));
    for (const each of announced) each[Symbol.dispose]();
  });
});
