/**
 * The proxy's port. It serves the HTTP API: `POST /v2/vectordb/...`, with the same handlers as over NATS, described at
 * /openapi.json. As in Milvus, errors answer 200 with a code in the body; only a timeout has a status of its own (408),
 * and an unknown caller (401), of whose request no body is read. Milvus's gRPC service is on the same port
 * (grpc/server.ts).
 */
import { isUtf8 } from "node:buffer";
import { readFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import type { Readable } from "node:stream";
import { type FastifyReply, type FastifyRequest, fastify } from "fastify";
import type { ActorContext } from "../../runtime/actor.ts";
import { asVdbError, errorMessage, isVdbError, VdbError } from "../../runtime/errors.ts";
import { hostAndPort, listenAddress } from "../../runtime/listen-address.ts";
import { currentUser, errorBody, httpPath, isSlow, type PublicOperation } from "../../runtime/protocol/public.ts";
import {
  decodePublic,
  encodePublic,
  encodeReply,
  JSON_TYPE,
  MSGPACK_TYPE,
} from "../../runtime/protocol/public-codec.ts";
import { Stop } from "../../runtime/stop.ts";
import { withDatabase } from "./parse-body.ts";
import { BODY_MS, Body, BodyBudget, readPieces } from "./request-bodies.ts";
import { Running } from "./running.ts";
import { sharedPort, type Tls } from "./shared-port.ts";

/** How long a closing port waits for clients to read their replies, and for requests that have not arrived in full. */
const UNFINISHED_MS = 2_000;

export interface HttpServer {
  /** HOST:PORT as bound. */
  readonly address: string;
  /** Takes no new requests; resolves when those taken are answered. */
  close(): Promise<void>;
}

/** @throws VdbError invalid_parameter for a listen address or certificate files that are not usable; Error when the address cannot be bound */
export async function serveHttp(
  actor: ActorContext,
  operations: readonly PublicOperation[],
  openApi: () => object,
): Promise<HttpServer> {
  const { http, httpBodyBytesMax, bodiesBytesMax, connectionsMax } = actor.config.proxy;
  const { host, port } = listenAddress("proxy.http", http);
  // Loaded here: a node without a proxy, or without this port, does not pay for it.
  const { makeGrpcServer } = await import("./grpc/server.ts");
  const running = new Running();
  const budget = new BodyBudget(Math.max(bodiesBytesMax, httpBodyBytesMax));
  const grpc = makeGrpcServer(actor, running, budget);
  const options = { clock: actor.clock, tls: await readTls(actor), connectionsMax };
  const shared = sharedPort(options, (connection) => grpc.take(connection));
  const app = fastify({
    logger: false,
    forceCloseConnections: "idle",
    serverFactory: (handler) => shared.serve(handler),
  });
  // Bodies stay bytes: our own codec keeps 64-bit integers exact.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", async (request: FastifyRequest, payload: Readable) =>
    request.is404 ? undefined : readBody(actor, budget, request, payload),
  );
  // However a request ends: one that no operation answers may still have a body.
  app.addHook("onResponse", (request, _, done) => {
    (request.body as ReadBody | undefined)?.body.release();
    done();
  });
  app.setNotFoundHandler((request, reply) => {
    endUnread(request, reply);
    return reply.code(404).type("text/plain").send("404 page not found");
  });
  app.setErrorHandler((error, request, reply) => {
    endUnread(request, reply);
    return refuse(reply, JSON_TYPE, requestError(error));
  });
  // Tells a load balancer to send nothing new to a node that is to leave.
  app.get("/healthz", (_, reply) => {
    const { isDraining } = actor.draining;
    return reply
      .code(isDraining ? 503 : 200)
      .type("text/plain")
      .send(isDraining ? "draining" : "OK");
  });
  app.get("/openapi.json", (_, reply) => reply.send(openApi()));
  const onRequest = (request: FastifyRequest) => authenticate(actor, request);
  for (const operation of operations) {
    const handle = (request: FastifyRequest, reply: FastifyReply) =>
      running.run(answer(actor, operation, request, reply));
    app.post(httpPath(operation), actor.config.proxy.authorization ? { onRequest } : {}, handle);
  }
  await app.listen({ host, port });
  // A draining node still answers what comes, but tells clients to connect again: a load balancer sends them elsewhere.
  const onDraining = actor.draining.subscribe(() => {
    if (actor.draining.isDraining) grpc.sendAway();
  });
  return {
    address: hostAndPort(host, (app.server.address() as AddressInfo).port),
    async close() {
      onDraining[Symbol.dispose]();
      shared.close();
      const closed = Promise.all([grpc.close(), app.close()]);
      const isClosed = new Stop();
      running
        .idle()
        .then(() => actor.clock.sleep(UNFINISHED_MS, isClosed))
        .then(
          () => shared.cutOff(),
          () => undefined,
        );
      await closed;
      isClosed.abort();
    },
  };
}

async function readTls({ config }: ActorContext): Promise<Tls | undefined> {
  const { tlsCertFile, tlsKeyFile, tlsCaFile } = config.proxy;
  if (tlsCertFile === "" && tlsKeyFile === "" && tlsCaFile === "") return undefined;
  if (tlsCertFile === "" || tlsKeyFile === "") {
    throw new VdbError("invalid_parameter", "proxy.tlsCertFile and proxy.tlsKeyFile belong together");
  }
  const read = (setting: string, path: string) =>
    readFile(path).catch((error: unknown) => {
      throw new VdbError("invalid_parameter", `${setting}: ${errorMessage(error)}`, { cause: error });
    });
  return {
    cert: await read("proxy.tlsCertFile", tlsCertFile),
    key: await read("proxy.tlsKeyFile", tlsKeyFile),
    ca: tlsCaFile === "" ? undefined : await read("proxy.tlsCaFile", tlsCaFile),
  };
}

/** An unknown caller's body is not read. What a known caller may do is decided by the operation. @throws VdbError unauthenticated */
async function authenticate(actor: ActorContext, { headers }: FastifyRequest): Promise<void> {
  const deadline = actor.clock.monotonic() + actor.config.proxy.requestTimeoutMs;
  await actor.bus.ask(currentUser, {}, {}, { deadline, authorization: authorizationOf(headers.authorization) });
}

/** Node gives headers as Latin-1, but names and passwords are UTF-8, as over the other transports. */
function authorizationOf(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  const bytes = Buffer.from(header, "latin1");
  return isUtf8(bytes) ? bytes.toString("utf8") : header;
}

interface ReadBody {
  bytes: Buffer;
  body: Body;
}

/** @throws VdbError parameter_too_large, rate_limited, deadline_exceeded, canceled */
async function readBody(
  { clock, config }: ActorContext,
  budget: BodyBudget,
  { headers }: FastifyRequest,
  payload: Readable,
): Promise<ReadBody> {
  const { httpBodyBytesMax } = config.proxy;
  const body = new Body(budget);
  try {
    const length = headers["content-length"];
    if (Number(length) > httpBodyBytesMax) throw tooLarge();
    if (length !== undefined) body.announce(Number(length));
    await readPieces(payload, clock, BODY_MS, (piece) => {
      if (body.received + piece.length > httpBodyBytesMax) throw tooLarge();
      body.add(piece);
      return false;
    });
    return { bytes: await body.bytes(clock), body };
  } catch (error) {
    body.release();
    throw error;
  }
}

/** A smaller body is read to its end although it is refused, so that the connection can be used again. */
const DUMPED_BYTES_MAX = 1024 * 1024;

function isLarge({ headers }: FastifyRequest): boolean {
  const length = headers["content-length"];
  return length === undefined ? headers["transfer-encoding"] !== undefined : Number(length) > DUMPED_BYTES_MAX;
}

/** Closes the connection rather than read the rest of a large body. */
function endUnread(request: FastifyRequest, reply: FastifyReply): void {
  if (!request.raw.complete && isLarge(request)) reply.header("connection", "close");
}

async function answer(
  actor: ActorContext,
  operation: PublicOperation,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const contentType = (request.headers["content-type"] ?? "").startsWith(MSGPACK_TYPE) ? MSGPACK_TYPE : JSON_TYPE;
  const gone = new AbortController();
  const onClose = () => gone.abort();
  reply.raw.once("close", onClose);
  const read = request.body as ReadBody | undefined;
  try {
    if (reply.raw.destroyed) throw new VdbError("canceled", "the client has gone before its request was begun");
    const given = decodePublic(read?.bytes ?? new Uint8Array(0), contentType);
    const body = withNumbers(withDatabase(given, request.headers["db-name"]), request.headers);
    const deadline = actor.clock.monotonic() + timeoutMs(actor, operation, request);
    const authorization = authorizationOf(request.headers.authorization);
    // Served in this process, so the bus hands the body over as it is: one mailbox bounds both transports.
    const answered = await actor.bus.ask(operation, {}, body, { deadline, signal: gone.signal, authorization });
    return sendBytes(reply, contentType, await encodeReply(answered, contentType, actor.clock));
  } catch (error) {
    return refuse(reply, contentType, asVdbError(error));
  } finally {
    read?.body.release();
    reply.raw.off("close", onClose);
  }
}

function refuse(reply: FastifyReply, contentType: string, error: VdbError): FastifyReply {
  if (error.kind === "deadline_exceeded") reply.code(408);
  if (error.kind === "unauthenticated" || error.kind === "not_authenticated") reply.code(401);
  const retryAfterMs = error.details?.retryAfterMs;
  if (typeof retryAfterMs === "number") reply.header("Retry-After", Math.max(1, Math.ceil(retryAfterMs / 1000)));
  return sendBody(reply, contentType, errorBody(error));
}

/** The header Accept-Type-Allow-Int64: false asks for int64 as text, for clients whose numbers do not hold them. */
function withNumbers(body: unknown, headers: FastifyRequest["headers"]): unknown {
  if (headers["accept-type-allow-int64"] !== "false" || typeof body !== "object" || body === null) return body;
  return { acceptTypeAllowInt64: false, ...body };
}

function sendBody(reply: FastifyReply, contentType: string, body: unknown): FastifyReply {
  return sendBytes(reply, contentType, encodePublic(body, contentType));
}

function sendBytes(reply: FastifyReply, contentType: string, bytes: Uint8Array): FastifyReply {
  return reply.type(contentType).send(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}

/** From Milvus's header Request-Timeout, in seconds; else as configured, but longer for operations that are slow by nature. */
function timeoutMs(actor: ActorContext, operation: PublicOperation, request: FastifyRequest): number {
  const seconds = Number(request.headers["request-timeout"]);
  if (Number.isFinite(seconds) && seconds > 0) return seconds * 1000;
  const { requestTimeoutMs } = actor.config.proxy;
  return isSlow(operation) ? Math.max(requestTimeoutMs, operation.timeoutMs) : requestTimeoutMs;
}

function tooLarge(): VdbError {
  return new VdbError(
    "parameter_too_large",
    "request body is larger than proxy.httpBodyBytesMax: send fewer rows at a time",
  );
}

/** What is refused before a handler sees it. */
function requestError(error: unknown): VdbError {
  if (isVdbError(error)) return error;
  return new VdbError("malformed_request", `can only accept json format request, error: ${errorMessage(error)}`);
}
