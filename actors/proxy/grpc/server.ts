/**
 * The gRPC server of a proxy: every method of milvus.proto.milvus.MilvusService has an answer. Those of the table below
 * are translated to public operations; the others say Status code 10 in the shape of their own reply; streams end with
 * UNIMPLEMENTED.
 *
 * Invariants
 *   G1. What fails becomes the reply's Status, but for who may not ask at all, and what has no place for one.
 *   G2. Where callers are asked who they are, a call's message is not read before its caller is known.
 */
import { status as CALL_STATUS } from "@grpc/grpc-js";
import type { ActorContext } from "../../../runtime/actor.ts";
import { asVdbError, isVdbError, VdbError } from "../../../runtime/errors.ts";
import { currentUser, errorOfBody, isSlow, type PublicOperation } from "../../../runtime/protocol/public.ts";
import { inTurns } from "../../../runtime/steps.ts";
import { withDatabase } from "../parse-body.ts";
import type { BodyBudget } from "../request-bodies.ts";
import type { Running } from "../running.ts";
import { CallError, type CallHead, type Calls, type IncomingCall, makeCalls } from "./calls.ts";
import { CROWDED_BYTES, refuseCrowded } from "./crowded.ts";
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

/**
 * @param running counts the requests that have arrived and are not answered
 * @param budget of what is read of requests that are not answered
 */
export function makeGrpcServer(actor: ActorContext, running: Running, budget: BodyBudget): Calls {
  const definitions = loadDefinitions();
  const front: GrpcFront = { actor, definitions, ask: (operation, body, call) => ask(actor, operation, body, call) };
  const { authorization, httpBodyBytesMax, concurrency, queue } = actor.config.proxy;
  const table = new Map(RPCS.map((each) => [each.name, each]));
  return makeCalls({
    clock: actor.clock,
    budget,
    messageBytesMax: httpBodyBytesMax,
    replyBytesMax: SEND_BYTES_MAX,
    callsMax: concurrency + queue,
    methods: definitions.methods,
    admit: authorization ? (head) => admit(front, head) : undefined,
    answer: (method, call) => running.run(serveCall(front, method, table.get(method.name), call)),
  });
}

/** Before anything is read of whoever asks, or said: what is wrong with a request, too, and the work of decoding it. */
async function admit(front: GrpcFront, head: CallHead): Promise<void> {
  const asked = grpcCall(front.actor, head);
  try {
    await front.ask(currentUser, {}, asked);
  } catch (error) {
    const known = asVdbError(error);
    throw callErrorOf(known, asked) ?? new CallError(CALL_STATUS.UNAVAILABLE, known.message);
  }
}

async function serveCall(
  front: GrpcFront,
  method: GrpcMethod,
  rpc: Rpc | undefined,
  call: IncomingCall,
): Promise<Buffer> {
  const asked = grpcCall(front.actor, call);
  try {
    if (rpc === undefined) throw unimplemented(method.name);
    return await answer(front, method, rpc, call.message(), asked);
  } catch (error) {
    const known = asVdbError(error);
    const refused =
      callErrorOf(known, asked) ?? (saysStatus(front.definitions, method) ? undefined : endingWith(known));
    if (refused !== undefined) throw refused;
    if (known.kind === "internal") front.actor.logger.error({ rpc: method.name, err: error }, "rpc failed");
    return encodeMessage(method.reply, withStatus(front.definitions, method, statusOf(known), {}));
  }
}

async function answer(front: GrpcFront, method: GrpcMethod, rpc: Rpc, bytes: Buffer, call: GrpcCall): Promise<Buffer> {
  const request =
    rpc.decode === undefined
      ? await decodeRequest(front, method, bytes)
      : await inTurns(front.actor.clock, rpc.decode(bytes));
  const reply = await rpc.handle(front, request, call);
  if (rpc.encode !== undefined) return rpc.encode(reply);
  return encodeMessage(method.reply, withStatus(front.definitions, method, OK_STATUS, (reply ?? {}) as Message));
}

/** Of what ends the call itself, as Milvus has it with who may not ask at all. */
function callErrorOf({ kind, message, details }: VdbError, { isDeadlineGiven }: GrpcCall): CallError | undefined {
  if (kind === "unauthenticated") return new CallError(CALL_STATUS.UNAUTHENTICATED, message);
  // Without a privilege's name it is about what was asked for, not about who asks.
  if (kind === "not_permitted" && details?.privilege !== undefined) {
    return new CallError(CALL_STATUS.PERMISSION_DENIED, message);
  }
  if (kind === "deadline_exceeded" && isDeadlineGiven) return new CallError(CALL_STATUS.DEADLINE_EXCEEDED, message);
  return undefined;
}

async function decodeRequest({ actor }: GrpcFront, method: GrpcMethod, bytes: Buffer): Promise<Message> {
  if (bytes.length > CROWDED_BYTES) await inTurns(actor.clock, refuseCrowded(method.request, bytes));
  try {
    return decodeMessage(method.request, bytes);
  } catch (error) {
    throw new VdbError("invalid_parameter", `the request is no ${method.request.name}: ${asVdbError(error).message}`);
  }
}

/** Of those replies that have no place for an error, which only older parts of the service have. */
function endingWith({ kind, message }: VdbError): CallError {
  return new CallError(kind === "unimplemented" ? CALL_STATUS.UNIMPLEMENTED : CALL_STATUS.UNKNOWN, message);
}

function saysStatus(definitions: Definitions, { reply }: GrpcMethod): boolean {
  return reply === definitions.type("common.Status") || reply.fields.status !== undefined;
}

/** The reply is a Status itself, or has one. */
function withStatus(definitions: Definitions, { reply }: GrpcMethod, status: Message, message: Message): Message {
  if (reply === definitions.type("common.Status")) return { ...status, ...message };
  return { status, ...message };
}

function grpcCall({ clock, config }: ActorContext, { header, timeoutMs, gone }: CallHead): GrpcCall {
  return {
    deadline: clock.monotonic() + (timeoutMs ?? config.proxy.requestTimeoutMs),
    isDeadlineGiven: timeoutMs !== undefined,
    signal: gone,
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

/** The REST API's own: over gRPC the same is a wrong parameter. */
const REST_KINDS = ["missing_field", "malformed_request", "invalid_insert_data", "invalid_primary_key"] as const;

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
    if (!isVdbError(error, ...REST_KINDS)) throw error;
    const { kind, message, details } = error;
    const name = kind === "missing_field" ? EMPTY_NAMES[String(details?.field)] : undefined;
    throw new VdbError("invalid_parameter", name ?? message, { cause: error, ...(details && { details }) });
  }
}
