/**
 * The gRPC server of a proxy: every method of milvus.proto.milvus.MilvusService has an answer. Those of the table below
 * are translated to public operations; the others say Status code 10 in the shape of their own reply; streams end with
 * UNIMPLEMENTED.
 *
 * Owns     the sessions of the connections that it is given.
 * Invariants
 *   G1. A handler never throws into the library: what fails becomes the reply's Status.
 *   G2. Nobody works for a client that has gone: its request's signal aborts.
 *   G3. Closing or draining lets what runs finish: clients get GOAWAY and go elsewhere with what comes next.
 */
import type { Duplex } from "node:stream";
import {
  type ConnectionInjector,
  logVerbosity,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type sendUnaryData,
  setLogVerbosity,
  status as WireStatus,
} from "@grpc/grpc-js";
import type { ActorContext } from "../../../runtime/actor.ts";
import { asVdbError, isVdbError, VdbError } from "../../../runtime/errors.ts";
import { currentUser, errorOfBody, isSlow, type PublicOperation } from "../../../runtime/protocol/public.ts";
import { Stop } from "../../../runtime/stop.ts";
import { withDatabase } from "../parse-body.ts";
import type { Running } from "../running.ts";
import {
  type Definitions,
  decodeMessage,
  encodeMessage,
  type GrpcMethod,
  loadDefinitions,
  type Message,
} from "./definitions.ts";
import { entityRpcs } from "./entities/entity-rpcs.ts";
import type { GrpcCall, GrpcFront, Rpc } from "./rpc.ts";
import { accessControlRpcs } from "./rpcs/access-control.ts";
import { aliasRpcs } from "./rpcs/aliases.ts";
import { collectionRpcs } from "./rpcs/collections.ts";
import { compactionRpcs } from "./rpcs/compaction.ts";
import { databaseRpcs } from "./rpcs/databases.ts";
import { fieldRpcs } from "./rpcs/fields.ts";
import { flushRpcs } from "./rpcs/flush.ts";
import { importRpcs } from "./rpcs/import.ts";
import { indexRpcs } from "./rpcs/indexes.ts";
import { loadRpcs } from "./rpcs/load.ts";
import { partitionRpcs } from "./rpcs/partitions.ts";
import { resourceGroupRpcs } from "./rpcs/resource-groups.ts";
import { segmentRpcs } from "./rpcs/segments.ts";
import { sessionRpcs } from "./rpcs/session.ts";
import { OK_STATUS, statusOf, unimplemented } from "./status.ts";

/** What Milvus sends at most. A reply that is larger is an error of the call, not of the process: it is made before it is measured. */
const SEND_BYTES_MAX = 256 * 1024 * 1024;
/** Of one stream on its way in: with HTTP/2's own 64 KiB a large insert waits for a round trip every 64 KiB. */
const WINDOW_BYTES = 1024 * 1024;
/** A connection whose client says nothing for this long is asked whether it is there, and dropped when it is not. */
const KEEPALIVE_MS = 60_000;
const KEEPALIVE_TIMEOUT_MS = 20_000;

export const RPCS: readonly Rpc[] = [
  ...sessionRpcs,
  ...databaseRpcs,
  ...collectionRpcs,
  ...fieldRpcs,
  ...aliasRpcs,
  ...partitionRpcs,
  ...indexRpcs,
  ...loadRpcs,
  ...flushRpcs,
  ...segmentRpcs,
  ...compactionRpcs,
  ...importRpcs,
  ...resourceGroupRpcs,
  ...accessControlRpcs,
  ...entityRpcs,
];

export interface GrpcServer {
  /** Takes a connection that begins with HTTP/2's preface. */
  take(connection: Duplex): void;
  /** Tells the clients of all connections to go elsewhere with their next request. */
  sendAway(): void;
  /** Takes nothing new; resolves when what runs is answered. */
  close(): Promise<void>;
}

/** @param running counts the requests that have arrived and are not answered */
export function makeGrpcServer(actor: ActorContext, running: Running): GrpcServer {
  // The library writes headers that it cannot read to the console as they are: passwords.
  setLogVerbosity(logVerbosity.NONE);
  const definitions = loadDefinitions();
  const front: GrpcFront = { actor, definitions, ask: (operation, body, call) => ask(actor, operation, body, call) };
  const { httpBodyBytesMax, concurrency, queue } = actor.config.proxy;
  const server = new Server({
    "grpc.max_receive_message_length": httpBodyBytesMax,
    "grpc.max_send_message_length": SEND_BYTES_MAX,
    "grpc.max_concurrent_streams": concurrency + queue,
    "grpc-node.flow_control_window": WINDOW_BYTES,
    "grpc.keepalive_time_ms": KEEPALIVE_MS,
    "grpc.keepalive_timeout_ms": KEEPALIVE_TIMEOUT_MS,
    "grpc.enable_channelz": 0,
  });
  const table = new Map(RPCS.map((each) => [each.name, each]));
  for (const method of definitions.methods) register(server, front, running, method, table.get(method.name));
  const inject = () => server.createConnectionInjector(ServerCredentials.createInsecure());
  let injector: ConnectionInjector = inject();
  return {
    take: (connection) => injector.injectConnection(connection),
    sendAway() {
      injector.destroy();
      injector = inject();
    },
    close: () => new Promise((resolve) => server.tryShutdown(() => resolve())),
  };
}

type Unary = ServerUnaryCall<Buffer, Buffer>;

const asIs = (bytes: Buffer) => bytes;

function register(
  server: Server,
  front: GrpcFront,
  running: Running,
  method: GrpcMethod,
  served: Rpc | undefined,
): void {
  const { path, isRequestStream, isReplyStream } = method;
  if (isRequestStream || isReplyStream) {
    const refuse = (call: { emit(event: "error", error: object): boolean }) =>
      call.emit("error", { code: WireStatus.UNIMPLEMENTED, details: `${method.name} is not implemented` });
    server.register(path, refuse as never, asIs, asIs, isRequestStream ? "bidi" : "serverStream");
    return;
  }
  const handle = (call: Unary, callback: sendUnaryData<Buffer>) => {
    running.run(answer(front, method, served, call)).then(
      (bytes) => callback(null, bytes),
      (error: unknown) =>
        callback(
          error instanceof WireError ? error.status : { code: WireStatus.INTERNAL, details: asVdbError(error).message },
        ),
    );
  };
  server.register(path, handle, asIs, asIs, "unary");
}

async function answer(front: GrpcFront, method: GrpcMethod, served: Rpc | undefined, call: Unary): Promise<Buffer> {
  const gone = new Stop();
  call.once("cancelled", () => gone.abort());
  if (call.cancelled) gone.abort();
  try {
    const asked = grpcCall(front.actor, call, gone);
    // Before anything is said or done for whoever asks: what is wrong with a request, too, and the work of decoding it.
    if (front.actor.config.proxy.authorization) await front.ask(currentUser, {}, asked);
    if (served === undefined) throw unimplemented(method.name);
    const request = served.decode?.(call.request) ?? decodeRequest(method, call.request);
    const reply = await served.handle(front, request, asked);
    if (served.encode !== undefined) return served.encode(reply);
    return encodeMessage(method.reply, withStatus(front.definitions, method, OK_STATUS, (reply ?? {}) as Message));
  } catch (error) {
    const known = asVdbError(error);
    const refused = wireError(known) ?? (saysStatus(front.definitions, method) ? undefined : endingWith(known));
    if (refused !== undefined) throw refused;
    if (known.kind === "internal") front.actor.logger.error({ rpc: method.name, err: error }, "rpc failed");
    return encodeMessage(method.reply, withStatus(front.definitions, method, statusOf(known), {}));
  }
}

/** Ends the call itself with an error, as Milvus does with who may not ask at all. */
class WireError extends Error {
  readonly status: { code: WireStatus; details: string };

  constructor(code: WireStatus, details: string) {
    super(details);
    this.status = { code, details };
  }
}

function wireError({ kind, message, details }: VdbError): WireError | undefined {
  if (kind === "unauthenticated") return new WireError(WireStatus.UNAUTHENTICATED, message);
  // Without a privilege's name it is about what was asked for, not about who asks.
  if (kind === "not_permitted" && details?.privilege !== undefined) {
    return new WireError(WireStatus.PERMISSION_DENIED, message);
  }
  return undefined;
}

function decodeRequest(method: GrpcMethod, bytes: Buffer): Message {
  try {
    return decodeMessage(method.request, bytes);
  } catch (error) {
    throw new VdbError("invalid_parameter", `the request is no ${method.request.name}: ${asVdbError(error).message}`);
  }
}

/** Of those replies that have no place for an error, which only older parts of the service have. */
function endingWith({ kind, message }: VdbError): WireError {
  return new WireError(kind === "unimplemented" ? WireStatus.UNIMPLEMENTED : WireStatus.UNKNOWN, message);
}

function saysStatus(definitions: Definitions, { reply }: GrpcMethod): boolean {
  return reply === definitions.type("common.Status") || reply.fields.status !== undefined;
}

/** The reply is a Status itself, or has one. */
function withStatus(definitions: Definitions, { reply }: GrpcMethod, status: Message, message: Message): Message {
  if (reply === definitions.type("common.Status")) return { ...status, ...message };
  return { status, ...message };
}

function grpcCall(actor: ActorContext, call: Unary, signal: Stop): GrpcCall {
  const header = (name: string) => {
    const [value] = call.metadata.get(name);
    return value === undefined ? undefined : String(value);
  };
  const { clock } = actor;
  const given = call.getDeadline();
  const isDeadlineGiven = Number.isFinite(Number(given));
  // The library's deadline is by the wall clock.
  const leftMs = isDeadlineGiven ? Number(given) - clock.now() : actor.config.proxy.requestTimeoutMs;
  return {
    deadline: clock.monotonic() + leftMs,
    isDeadlineGiven,
    signal,
    database: header("dbname") ?? "",
    authorization: authorizationOf(header("authorization")),
    header,
  };
}

/** Base64 of "user:password", or of a token. */
function authorizationOf(given: string | undefined): string | undefined {
  if (given === undefined || given === "") return undefined;
  const text = Buffer.from(given, "base64").toString();
  return text.includes(":") ? `Basic ${given}` : `Bearer ${text}`;
}

/** What clients look for when a name is empty: over gRPC it cannot be missing. */
const EMPTY_NAMES: Readonly<Record<string, string>> = {
  collectionName: "Invalid collection name: . the collection name should not be empty",
  newCollectionName: "Invalid collection name: . the collection name should not be empty",
  aliasName: "Invalid collection alias: . the collection alias should not be empty",
  partitionName: "Invalid partition name: . Partition name should not be empty.",
};

async function ask(actor: ActorContext, operation: PublicOperation, body: Record<string, unknown>, call: GrpcCall) {
  const deadline =
    isSlow(operation) && !call.isDeadlineGiven
      ? Math.max(call.deadline, actor.clock.monotonic() + operation.timeoutMs)
      : call.deadline;
  const { signal, authorization } = call;
  try {
    const reply = await actor.bus.ask(operation, {}, withDatabase(body, call.database), {
      deadline,
      signal,
      authorization,
    });
    const error = "code" in reply ? errorOfBody(reply) : null;
    if (error !== null) throw error;
    return reply;
  } catch (error) {
    // The REST API's own codes: over gRPC the same is a wrong parameter.
    if (!isVdbError(error, "missing_field", "malformed_request")) throw error;
    const { message, details } = error;
    throw new VdbError("invalid_parameter", EMPTY_NAMES[String(details?.field)] ?? message, { cause: error });
  }
}
