/**
 * What an RPC is: a translation between a message of Milvus's and a public operation. The operations (actors/proxy/routes)
 * decide what a request means and what is wrong with it; nothing is checked or done here a second time.
 */
import type { ActorContext } from "../../../runtime/actor.ts";
import type { PublicOperation, PublicReply } from "../../../runtime/protocol/public.ts";
import type { Steps } from "../../../runtime/steps.ts";
import type { StopSignal } from "../../../runtime/stop.ts";
import type { Definitions } from "./definitions.ts";

/** Of one request. */
export interface GrpcCall {
  /** By the node's monotonic clock, milliseconds: the client's, else the configured one. */
  readonly deadline: number;
  /** Whether the client has named the deadline; else operations that take long by nature may take longer. */
  readonly isDeadlineGiven: boolean;
  /** Aborted when the client has gone or called the request off. */
  readonly signal: StopSignal;
  /** Of the header `dbname`; empty: none. */
  readonly database: string;
  /** Of the header `authorization`, as it would be over HTTP: "Basic ..." or "Bearer ..."; undefined: none. */
  readonly authorization: string | undefined;
  /** Metadata of the request by its lower-case name; undefined when there is none. */
  header(name: string): string | undefined;
}

/** What an RPC works with. */
export interface GrpcFront {
  readonly actor: ActorContext;
  readonly definitions: Definitions;
  /**
   * Asks a public operation, as the HTTP API does; the body's missing or empty `dbName` is the header's.
   * @returns the reply's body, which is one of success @throws VdbError what the operation threw
   */
  ask(operation: PublicOperation, body: Record<string, unknown>, call: GrpcCall): Promise<PublicReply>;
}

/**
 * Answers one method of the service. A reply without `status` gets that of success; one of common.Status needs no reply.
 * Whatever is thrown becomes the reply's status.
 */
export interface Rpc<Request = unknown, Reply = unknown> {
  readonly name: string;
  handle(front: GrpcFront, request: Request, call: GrpcCall): Promise<Reply>;
  /** By the definitions when there is none. */
  decode?(bytes: Buffer): Steps<Request>;
  /** By the definitions when there is none; a reply that only carries an error is always encoded by them. */
  encode?(reply: Reply): Buffer;
}

export function rpc<Request>(
  name: string,
  handle: (front: GrpcFront, request: Request, call: GrpcCall) => Promise<unknown>,
): Rpc {
  return { name, handle: (front, request, call) => handle(front, request as Request, call) };
}
