/** One port for HTTP/1.1 and gRPC, in the clear and with TLS: connections that are what they say, and others. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect as connectHttp2 } from "node:http2";
import { request as httpsRequest } from "node:https";
import { type AddressInfo, connect } from "node:net";
import { join } from "node:path";
import { deflateSync, gzipSync } from "node:zlib";
import { credentials } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { ActorContext } from "../../runtime/actor.ts";
import { loadConfig } from "../../runtime/config/load.ts";
import { Draining } from "../../runtime/draining.ts";
import { VdbError } from "../../runtime/errors.ts";
import { hasCollection, type PublicOperation } from "../../runtime/protocol/public.ts";
import { systemClock } from "../../runtime/system-clock.ts";
import { ManualClock } from "../../runtime/testing/manual-clock.ts";
import { PROJECT_FOLDER } from "../../runtime/version.ts";
import { GrpcCaller, METHODS, statusIn } from "../../test/grpc/call.ts";
import { decodeMessage, encodeMessage } from "./grpc/definitions.ts";
import { type HttpServer, serveHttp } from "./http.ts";
import { sharedPort } from "./shared-port.ts";

const TLS_FOLDER = join(PROJECT_FOLDER, "test/grpc/tls");
const tlsFile = (name: string) => readFileSync(join(TLS_FOLDER, name));
const TLS = [`proxy.tlsCertFile=${TLS_FOLDER}/server.pem`, `proxy.tlsKeyFile=${TLS_FOLDER}/server-key.pem`];

const HAS = "/milvus.proto.milvus.MilvusService/HasCollection";
const GRPC = { "content-type": "application/grpc", te: "trailers" };

type Ask = (operation: PublicOperation, params: object, body: Record<string, unknown>) => Promise<object>;

let server: HttpServer;
let draining: Draining;
let ask: Ask;
const callers: GrpcCaller[] = [];

/** A front whose only operation says whether there is a collection: those of the name "there" are. */
async function serve(settings: string[] = []): Promise<void> {
  draining = new Draining();
  ask = async (_operation, _params, { collectionName }) => ({ code: 0, data: { has: collectionName === "there" } });
  const { config } = loadConfig({ flags: ["proxy.http=127.0.0.1:0", ...settings] });
  const bus = { ask: (...given: Parameters<Ask>) => ask(...given) };
  const logger = { error: () => undefined };
  const actor = { config, clock: systemClock, draining, bus, logger } as unknown as ActorContext;
  server = await serveHttp(actor, [hasCollection], () => ({}));
}

/** The next request is answered when `answer` is called. */
function answerLater() {
  let answer: (reply: object) => void = () => undefined;
  const isAsked = new Promise<void>((resolve) => {
    ask = () => {
      resolve();
      return new Promise((settle) => {
        answer = settle;
      });
    };
  });
  return { isAsked, answer: (reply: object) => answer(reply) };
}

function caller(...creds: ConstructorParameters<typeof GrpcCaller> extends [string, ...infer Rest] ? Rest : never) {
  const made = new GrpcCaller(server.address, ...creds);
  callers.push(made);
  return made;
}

const has = async (from: GrpcCaller, collectionName = "there") =>
  (await from.call("HasCollection", { collectionName })).value;

beforeEach(() => {
  callers.length = 0;
});
afterEach(async () => {
  for (const each of callers) each.close();
  await server.close();
});

function portOf(): number {
  return Number(server.address.split(":")[1]);
}

describe("in the clear", () => {
  beforeEach(() => serve());

  test("both protocols are answered", async () => {
    const grpc = caller();
    expect(await has(grpc)).toBe(true);
    expect(await has(grpc, "elsewhere")).toBe(false);
    const response = await fetch(`http://${server.address}/v2/vectordb/collections/has`, {
      method: "POST",
      body: JSON.stringify({ collectionName: "there" }),
    });
    expect(await response.json()).toEqual({ code: 0, data: { has: true } });
  });

  test("the preface may come in pieces", async () => {
    const socket = connect({ port: portOf(), host: "127.0.0.1", noDelay: true });
    await once(socket, "connect");
    for (const piece of ["PRI", " * HTTP/2.0\r\n\r", "\nSM\r\n\r\n"]) {
      await new Promise((resolve) => socket.write(piece, resolve));
      await new Promise((resolve) => setImmediate(resolve));
    }
    // An empty SETTINGS frame, which the server answers with its own.
    socket.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]));
    const [bytes] = (await once(socket, "data")) as [Buffer];
    expect(bytes[3]).toBe(4);
    socket.destroy();
  });

  test("an HTTP/2 connection that its client ends without a word is ended here too", async () => {
    const socket = connect({ port: portOf(), host: "127.0.0.1", allowHalfOpen: true });
    socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    socket.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]));
    await once(socket, "data");
    const ended = once(socket, "end");
    socket.end();
    await ended;
  });

  test("a broken preface is an HTTP/1.1 request that is none", async () => {
    const socket = connect(portOf(), "127.0.0.1");
    socket.write("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    const [bytes] = (await once(socket, "data")) as [Buffer];
    expect(bytes.toString()).toMatch(/^HTTP\/1\.1 (400|404|505)/);
    socket.destroy();
  });

  test("a connection that says nothing does not hold up the close", async () => {
    const socket = connect(portOf(), "127.0.0.1");
    await once(socket, "connect");
    const ended = once(socket, "close");
    await has(caller());
    await server.close();
    await ended;
  });

  test("requests that do not arrive in full do not hold up the close", async () => {
    const socket = connect(portOf(), "127.0.0.1");
    socket.on("error", () => undefined).resume();
    const session = connectHttp2(`http://${server.address}`);
    session.on("error", () => undefined);
    const stream = session.request({ ":method": "POST", ":path": HAS, ...GRPC });
    stream.on("error", () => undefined);
    const ended = [once(socket, "close"), once(session, "close")];
    await new Promise((resolve) => socket.write("POST /healthz HTTP/1.1\r\nContent-Length: 9\r\n\r\n{", resolve));
    await new Promise((resolve) => stream.write(Buffer.of(0, 0, 0, 0, 9), resolve));
    // What was written before has been read when this is answered.
    await has(caller());
    await server.close();
    await Promise.all(ended);
  });

  test("with authorization, nobody is told anything who may not ask", async () => {
    await server.close();
    await serve(["proxy.authorization=true"]);
    ask = () => Promise.reject(new VdbError("unauthenticated", "user hasn't authenticated"));
    const grpc = caller();
    const wrong = { collectionName: "c", schema: Buffer.from([0x0a, 0xff]) };
    await expect(grpc.call("CreateCollection", wrong)).rejects.toMatchObject({ code: 16 });
    await expect(grpc.call("Search")).rejects.toMatchObject({ code: 16 });
    // Asks for nothing.
    await expect(grpc.call("Flush", { collectionNames: [] })).rejects.toMatchObject({ code: 16 });
    await expect(grpc.call("LoadBalance")).rejects.toMatchObject({ code: 16 });
  });

  test("headers that are no text are not written to the console", async () => {
    const printed = vi.spyOn(console, "error");
    const session = connectHttp2(`http://${server.address}`);
    const stream = session.request({ ":method": "POST", ":path": HAS, ...GRPC, authorization: "p\u00e4ssword" });
    stream.end(Buffer.alloc(5)).resume();
    await once(stream, "close");
    session.destroy();
    expect(printed).not.toHaveBeenCalled();
    printed.mockRestore();
  });

  test("bytes that are no message are answered as a wrong parameter", async () => {
    const grpc = caller();
    const reply = await grpc.call("CreateCollection", { collectionName: "c", schema: Buffer.from([0x0a, 0xff]) });
    expect(statusIn(reply)).toMatchObject({ code: 1100, errorCode: "IllegalArgument" });
  });

  test("with authorization, nothing is read of who is nobody, and names and passwords are UTF-8", async () => {
    await server.close();
    await serve(["proxy.authorization=true"]);
    const said: unknown[] = [];
    ask = (...given: unknown[]) => {
      said.push((given[3] as { authorization?: string }).authorization);
      return Promise.reject(new VdbError("unauthenticated", "user hasn't authenticated"));
    };
    const socket = connect(portOf(), "127.0.0.1");
    const authorization = "Authorization: Bearer j\u00f6rg:p\u00e4ss\u6f22";
    socket.write(
      `POST /v2/vectordb/collections/has HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n${authorization}\r\n\r\n`,
    );
    const [bytes] = (await once(socket, "data")) as [Buffer];
    expect(bytes.toString()).toMatch(/^HTTP\/1\.1 401 /);
    socket.destroy();
    const session = connectHttp2(`http://${server.address}`);
    const stream = session.request({ ":method": "POST", ":path": HAS, ...GRPC });
    const [headers] = (await once(stream, "response")) as [Record<string, string>];
    expect(headers["grpc-status"]).toBe("16");
    session.destroy();
    expect(said).toEqual(["Bearer j\u00f6rg:p\u00e4ss\u6f22", undefined]);
  });

  test("requests beyond what all of them may hold are refused as retriable, over either protocol", async () => {
    await server.close();
    await serve(["proxy.httpBodyBytesMax=65536", "proxy.bodiesBytesMax=65536"]);
    const { isAsked, answer } = answerLater();
    const grpc = caller();
    const large = { collectionName: "c".repeat(40_000) };
    const first = grpc.call("HasCollection", large);
    await isAsked;
    const refused = { code: 8, errorCode: "RateLimit", retriable: true };
    expect(await grpc.call("HasCollection", large)).toMatchObject({ status: refused });
    const post = () =>
      fetch(`http://${server.address}/v2/vectordb/collections/has`, { method: "POST", body: JSON.stringify(large) });
    const response = await post();
    expect(response.headers.get("retry-after")).toBe("1");
    expect(await response.json()).toMatchObject({ code: 8 });
    answer({ code: 0, data: { has: true } });
    expect(await first).toMatchObject({ value: true });
    ask = async () => ({ code: 0, data: { has: false } });
    expect(await (await post()).json()).toMatchObject({ code: 0 });
    expect(await grpc.call("HasCollection", large)).toMatchObject({ value: false });
  });

  test("connections beyond the most are closed as they come", async () => {
    await server.close();
    await serve(["proxy.connectionsMax=1"]);
    const first = connect(portOf(), "127.0.0.1");
    await once(first, "connect");
    const second = connect(portOf(), "127.0.0.1");
    second.on("error", () => undefined);
    await once(second, "close");
    first.destroy();
  });

  test.each(["gzip", "deflate"] as const)("a message may be compressed: %s", async (encoding) => {
    const message = encodeMessage(METHODS.find(({ name }) => name === "HasCollection")!.request, {
      collectionName: "there",
    });
    const packed = { gzip: gzipSync, deflate: deflateSync }[encoding](message);
    const prefix = Buffer.of(1, 0, 0, 0, packed.length);
    const session = connectHttp2(`http://${server.address}`);
    const stream = session.request({ ":method": "POST", ":path": HAS, ...GRPC, "grpc-encoding": encoding });
    const pieces: Buffer[] = [];
    stream.on("data", (piece: Buffer) => pieces.push(piece));
    // In pieces of a byte.
    for (const byte of Buffer.concat([prefix, packed])) stream.write(Buffer.of(byte));
    stream.end();
    const [trailers] = (await once(stream, "trailers")) as [Record<string, string>];
    await once(stream, "close");
    session.destroy();
    expect(trailers["grpc-status"]).toBe("0");
    const { reply } = METHODS.find(({ name }) => name === "HasCollection")!;
    expect(decodeMessage(reply, Buffer.concat(pieces).subarray(5))).toMatchObject({ value: true });
  });

  test("a message that is not all there when its client goes is no request", async () => {
    let isAsked = false;
    ask = async () => {
      isAsked = true;
      return { code: 0, data: { has: true } };
    };
    const session = connectHttp2(`http://${server.address}`);
    const stream = session.request({ ":method": "POST", ":path": HAS, ...GRPC });
    stream.end(Buffer.of(0, 0, 0, 0, 9, 1));
    const [headers] = (await once(stream, "response")) as [Record<string, string>];
    expect(headers["grpc-status"]).toBe("12");
    session.destroy();
    expect(isAsked).toBe(false);
  });

  test("a message beyond the largest body is refused", async () => {
    await server.close();
    await serve(["proxy.httpBodyBytesMax=65536"]);
    const large = caller().call("CreateCollection", { schema: Buffer.alloc(65_536) });
    await expect(large).rejects.toMatchObject({ code: 8 });
  });

  test("an error of a handler is the reply's status", async () => {
    const grpc = caller();
    ask = () => Promise.reject(new VdbError("collection_not_found", "can't find collection[collection=c]"));
    expect(await grpc.call("HasCollection", { collectionName: "c" })).toMatchObject({
      status: {
        code: 100,
        errorCode: "CollectionNotExists",
        reason: "can't find collection[collection=c]",
        retriable: false,
      },
    });
    ask = () => Promise.reject(new VdbError("rate_limited", "rate limit exceeded"));
    expect(await grpc.call("HasCollection", { collectionName: "c" })).toMatchObject({
      status: { code: 8, errorCode: "RateLimit", retriable: true },
    });
    ask = () => Promise.reject(new Error("unforeseen"));
    expect(await grpc.call("HasCollection", { collectionName: "c" })).toMatchObject({ status: { code: 5 } });
  });

  test("who may not ask gets no reply", async () => {
    const grpc = caller();
    ask = () => Promise.reject(new VdbError("unauthenticated", "auth check failure"));
    await expect(grpc.call("HasCollection", { collectionName: "c" })).rejects.toMatchObject({ code: 16 });
    ask = () => Promise.reject(new VdbError("not_permitted", "permission deny", { details: { privilege: "Search" } }));
    await expect(grpc.call("HasCollection", { collectionName: "c" })).rejects.toMatchObject({ code: 7 });
  });

  test("the header's database stands for one that the request does not name", async () => {
    const grpc = caller();
    const asked: unknown[] = [];
    ask = async (_operation, _params, { dbName }) => {
      asked.push(dbName);
      return { code: 0, data: { has: true } };
    };
    await grpc.call("HasCollection", { collectionName: "c" }, { dbname: "library" });
    await grpc.call("HasCollection", { collectionName: "c", dbName: "own" }, { dbname: "library" });
    expect(asked).toEqual(["library", "own"]);
  });

  test("draining and closing let what runs finish, and send its client elsewhere", async () => {
    const { isAsked, answer } = answerLater();
    const reply = has(caller());
    await isAsked;
    draining.set(true);
    const closed = server.close();
    answer({ code: 0, data: { has: true } });
    expect(await reply).toBe(true);
    await closed;
    await expect(has(caller())).rejects.toMatchObject({ code: 14 });
  });

  test("a client that goes stops what it asked for", async () => {
    const grpc = caller();
    const stopped = new Promise<void>((resolve) => {
      ask = (...given: unknown[]) => {
        const { signal } = given[3] as { signal: AbortSignal };
        signal.addEventListener("abort", () => resolve());
        grpc.close();
        return new Promise(() => undefined);
      };
    });
    has(grpc).catch(() => undefined);
    await stopped;
  });

  test("two hundred connections at once", async () => {
    const options = { "grpc.use_local_subchannel_pool": 1 };
    const many = Array.from({ length: 200 }, () => caller(credentials.createInsecure(), options));
    expect(await Promise.all(many.map((each) => has(each)))).toEqual(many.map(() => true));
  });
});

describe("with a certificate", () => {
  const trusting = () => credentials.createSsl(tlsFile("ca.pem"));
  const known = () => credentials.createSsl(tlsFile("ca.pem"), tlsFile("client-key.pem"), tlsFile("client.pem"));
  const healthy = (options: object) =>
    new Promise<number | undefined>((resolve, reject) => {
      const asked = httpsRequest(
        { port: portOf(), host: "127.0.0.1", path: "/healthz", ca: tlsFile("ca.pem"), agent: false, ...options },
        (response) => resolve(response.resume().statusCode),
      );
      asked.on("error", reject);
      asked.end();
    });

  test("both protocols are answered over TLS, and neither without", async () => {
    await serve(TLS);
    expect(await has(caller(trusting()))).toBe(true);
    expect(await healthy({})).toBe(200);
    // Who speaks both means the REST API.
    expect(await healthy({ ALPNProtocols: ["h2", "http/1.1"] })).toBe(200);
    await expect(has(caller())).rejects.toMatchObject({ code: 14 });
  });

  test("with an authority of clients, those without its certificate are refused", async () => {
    await serve([...TLS, `proxy.tlsCaFile=${TLS_FOLDER}/ca.pem`]);
    expect(await has(caller(known()))).toBe(true);
    expect(await healthy({ key: tlsFile("client-key.pem"), cert: tlsFile("client.pem") })).toBe(200);
    await expect(has(caller(trusting()))).rejects.toMatchObject({ code: 14 });
    await expect(healthy({})).rejects.toThrow();
  });
});

test("a connection that says what it is byte by byte has an end, however steadily it does", async () => {
  await serve();
  const clock = new ManualClock();
  const shared = sharedPort({ clock, tls: undefined, connectionsMax: 10 }, () => undefined);
  const port = shared.serve(() => undefined).listen(0, "127.0.0.1");
  await once(port, "listening");
  const accepted = once(port, "connection");
  const socket = connect((port.address() as AddressInfo).port, "127.0.0.1");
  await accepted;
  const closed = once(socket, "close");
  for (const byte of "PRI *") {
    socket.write(byte);
    await clock.advance(7_000);
  }
  await closed;
  port.close();
});

test("half a certificate is refused", async () => {
  await serve();
  const { config } = loadConfig({ flags: ["proxy.http=127.0.0.1:0", TLS[0]!] });
  const actor = { config, draining } as unknown as ActorContext;
  await expect(serveHttp(actor, [], () => ({}))).rejects.toMatchObject({ kind: "invalid_parameter" });
});
