/**
 * The HTTP API: `POST /v2/vectordb/...` in front of the same handlers, described at /openapi.json. Business errors answer
 * 200 with a code in the body, as Milvus does; only a timeout has a status of its own (408).
 */
import type { AddressInfo } from "node:net";
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from "fastify";
import type { ActorContext } from "../../runtime/actor.ts";
import { asVdbError, VdbError } from "../../runtime/errors.ts";
import { errorBody, httpPath, isSlow, type PublicOperation } from "../../runtime/protocol/public.ts";
import { decodePublic, encodePublic, JSON_TYPE, MSGPACK_TYPE } from "../../runtime/protocol/public-codec.ts";
import { textOf } from "./parse-body.ts";

export interface HttpServer {
  /** HOST:PORT as bound. */
  readonly address: string;
  /** Takes no new requests; resolves when those taken are answered. */
  close(): Promise<void>;
}

/** @throws VdbError invalid_parameter for a listen address that is none; Error when it cannot be bound */
export async function serveHttp(
  actor: ActorContext,
  operations: readonly PublicOperation[],
  openApi: () => object,
): Promise<HttpServer> {
  const { http, httpBodyBytesMax } = actor.config.proxy;
  const { host, port } = listenAddress(http);
  const app = fastify({ bodyLimit: httpBodyBytesMax, logger: false, forceCloseConnections: "idle" });
  // Bodies stay bytes: our own codec keeps 64-bit integers exact.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", { parseAs: "buffer" }, (_, body, done) => done(null, body));
  app.setNotFoundHandler((_, reply) => reply.code(404).type("text/plain").send("404 page not found"));
  app.setErrorHandler((error, _, reply) => sendBody(reply, JSON_TYPE, errorBody(requestError(error))));
  // A load balancer sends a node that is to leave nothing new; what still comes is answered by other proxies.
  app.get("/healthz", (_, reply) => {
    const { isDraining } = actor.draining;
    return reply
      .code(isDraining ? 503 : 200)
      .type("text/plain")
      .send(isDraining ? "draining" : "OK");
  });
  app.get("/openapi.json", (_, reply) => reply.send(openApi()));
  for (const operation of operations) {
    app.post(httpPath(operation), (request, reply) => answer(actor, operation, request, reply));
  }
  await app.listen({ host, port });
  return { address: boundAddress(app, host), close: () => app.close() };
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
  try {
    const given = decodePublic((request.body as Buffer | undefined) ?? new Uint8Array(0), contentType);
    const body = withNumbers(withDatabase(given, request.headers["db-name"]), request.headers);
    const deadline = actor.clock.monotonic() + timeoutMs(actor, operation, request);
    // Served in this process, so the bus hands the body over as it is: one mailbox bounds both transports.
    return sendBody(reply, contentType, await actor.bus.ask(operation, {}, body, { deadline, signal: gone.signal }));
  } catch (error) {
    const known = asVdbError(error);
    if (known.kind === "deadline_exceeded") reply.code(408);
    return sendBody(reply, contentType, errorBody(known));
  } finally {
    reply.raw.off("close", onClose);
  }
}

/** The header DB-Name stands for a body's missing `dbName`. */
function withDatabase(body: unknown, name: string | string[] | undefined): unknown {
  if (typeof name !== "string" || name === "" || typeof body !== "object" || body === null) return body;
  return textOf(body, "dbName") === undefined ? { ...body, dbName: name } : body;
}

/** The header Accept-Type-Allow-Int64: false asks for int64 as text, for clients whose numbers do not hold them. */
function withNumbers(body: unknown, headers: FastifyRequest["headers"]): unknown {
  if (headers["accept-type-allow-int64"] !== "false" || typeof body !== "object" || body === null) return body;
  return { acceptTypeAllowInt64: false, ...body };
}

function sendBody(reply: FastifyReply, contentType: string, body: unknown): FastifyReply {
  const bytes = encodePublic(body, contentType);
  return reply.type(contentType).send(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}

/** By Milvus's header Request-Timeout, in seconds; else as configured, and never less for an operation that takes long by nature. */
function timeoutMs(actor: ActorContext, operation: PublicOperation, request: FastifyRequest): number {
  const seconds = Number(request.headers["request-timeout"]);
  if (Number.isFinite(seconds) && seconds > 0) return seconds * 1000;
  const { requestTimeoutMs } = actor.config.proxy;
  return isSlow(operation) ? Math.max(requestTimeoutMs, operation.timeoutMs) : requestTimeoutMs;
}

/** What the server refuses before a handler sees it: a body that is too large or cut off. */
function requestError(error: unknown): VdbError {
  const { code, message } = error as { code?: string; message?: string };
  if (code === "FST_ERR_CTP_BODY_TOO_LARGE") {
    return new VdbError(
      "parameter_too_large",
      "request body is larger than proxy.httpBodyBytesMax: send fewer rows at a time",
    );
  }
  return new VdbError("malformed_request", `can only accept json format request, error: ${message ?? "bad request"}`);
}

function listenAddress(text: string): { host: string; port: number } {
  const colon = text.lastIndexOf(":");
  const port = Number(text.slice(colon + 1));
  const host = text.slice(0, Math.max(0, colon)).replace(/^\[|\]$/g, "");
  if (colon < 0 || host === "" || text.endsWith(":") || !Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new VdbError("invalid_parameter", `proxy.http must be HOST:PORT, got ${JSON.stringify(text)}`);
  }
  return { host, port };
}

function boundAddress(app: FastifyInstance, host: string): string {
  const { port } = app.server.address() as AddressInfo;
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
