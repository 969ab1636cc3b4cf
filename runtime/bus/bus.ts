/**
 * The bus: asks and tells between actors, wherever they are.
 *
 * An ask to an actor of this process is a function call: no socket, no serialisation; payloads go by reference and are
 * immutable. An ask to another process is a NATS request in MessagePack, with the time left in a header, so that a
 * callee never works for a caller that has given up. What is larger than the server's max_payload travels in chunks.
 *
 * Invariants
 *   B1. Every ask ends: with a reply, an error, its deadline or its signal.
 *   B2. A message from the wire is validated against its operation before a handler sees it.
 *   B3. A reply or error reaches only the ask that it answers (the inbox token is unique to it).
 */
import type { Clock } from "../clock.ts";
import { asVdbError, isVdbError, VdbError, type WireError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { decode, encode } from "../protocol/codec.ts";
import { fillSubject, type Operation, type SubjectParams } from "../protocol/operation.ts";
import { errorBody } from "../protocol/public.ts";
import { decodePublic, encodePublic, encodeReply, JSON_TYPE, MSGPACK_TYPE } from "../protocol/public-codec.ts";
import { REFUSED, readShape } from "../protocol/shape-reader.ts";
import { PROTOCOL_VERSION } from "../protocol/versions.ts";
import type { StopSignal } from "../stop.ts";
import { ChunkAssembler, splitChunks } from "./chunks.ts";
import { Mailbox, type MailboxOptions } from "./mailbox.ts";
import type { Transport, WireMessage, WireSubscription } from "./port.ts";
import { ServedStats } from "./served-stats.ts";

const HEADER = {
  protocol: "Vdb-Protocol",
  deadline: "Vdb-Deadline-Ms",
  error: "Vdb-Error",
  chunk: "Vdb-Chunk",
  contentType: "Content-Type",
  authorization: "Authorization",
} as const;

/** Asks of one node in flight over the wire. NATS clients have no outbound back-pressure of their own. */
const MAX_PENDING_ASKS = 16_384;

/** What a handler knows of the call it serves. */
export interface Call {
  /** By the node's monotonic clock, milliseconds. */
  readonly deadline: number;
  readonly signal: StopSignal | undefined;
  /** For a public operation, who the caller claims to be, as in HTTP: "Basic <base64 of user:password>" or "Bearer <user:password>". */
  readonly authorization?: string | undefined;
}

export interface AskOptions {
  /** By the node's monotonic clock. Default: the operation's own time limit from now. */
  deadline?: number;
  signal?: StopSignal;
  /** For a public operation: who the caller claims to be. */
  authorization?: string | undefined;
}

export type Handler<Request, Reply> = (request: Request, call: Call) => Promise<Reply> | Reply;

export interface Served {
  readonly subject: string;
  readonly stats: ServedStats;
  /** Takes no new messages; this process's own asks go on being answered. */
  leave(): void;
  /** Takes messages again. */
  join(): void;
  /** Ends it: takes nothing new; resolves when what was taken is answered. */
  drain(): Promise<void>;
}

interface LocalEndpoint {
  handle(request: unknown, call: Call): Promise<unknown>;
}

/** Bytes of a reply; those of an error when it failed. */
interface RawReply {
  data: Uint8Array;
  failed: boolean;
}

interface PendingAsk {
  assembler: ChunkAssembler;
  settle(outcome: RawReply | Error): void;
}

export class Bus {
  readonly #transport: Transport;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #prefix: string;
  readonly #local = new Map<string, LocalEndpoint>();
  readonly #pending = new Map<string, PendingAsk>();
  readonly #incoming = new Map<string, { assembler: ChunkAssembler; expiry: Disposable }>();
  readonly #inbox: { unsubscribe(): void };
  /** By the operation's subject as declared: served again, it is counted on. */
  readonly #stats = new Map<string, ServedStats>();
  #lastToken = 0;

  constructor(options: { transport: Transport; clock: Clock; logger: Logger; prefix: string }) {
    this.#transport = options.transport;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#prefix = options.prefix;
    this.#inbox = this.#transport.subscribe(`${this.#transport.inbox}.*`, (message) => this.#onReply(message));
    this.#transport.onDisconnect(() => {
      const lost = new VdbError("unavailable", "the connection to NATS was lost while the answer was waited for");
      for (const pending of [...this.#pending.values()]) pending.settle(lost);
    });
  }

  /** Asks one actor and waits for its answer. @throws VdbError what the callee threw; node_not_found when nobody serves the subject; deadline_exceeded; canceled */
  async ask<Subject extends string, Request, Reply>(
    operation: Operation<Subject, Request, Reply>,
    params: SubjectParams<Subject>,
    request: Request,
    options: AskOptions = {},
  ): Promise<Reply> {
    const subject = this.#subject(operation, params);
    const deadline = options.deadline ?? this.#clock.monotonic() + operation.timeoutMs;
    const local = this.#local.get(subject);
    if (local !== undefined)
      return this.#withDeadline(
        local.handle(request, { deadline, signal: options.signal, authorization: options.authorization }),
        deadline,
        options.signal,
        subject,
      ) as Promise<Reply>;
    const version = versionOf(operation, request);
    const headers: Record<string, string> = operation.isPublic
      ? { [HEADER.contentType]: MSGPACK_TYPE }
      : { [HEADER.protocol]: String(version) };
    if (operation.isPublic && options.authorization !== undefined)
      headers[HEADER.authorization] = options.authorization;
    const data = encode(request);
    // Not in chunks: a queue group would give each chunk to another member.
    if (operation.isPublic) this.#assertWhole(data, "request", "send fewer rows at once");
    const answer = await this.#askRemote(subject, data, headers, deadline, options.signal).catch((error: unknown) => {
      throw asOlderNode(error, version);
    });
    const reply = decode(answer);
    const read = readShape(operation.reply, reply);
    return read === REFUSED ? operation.reply.parse(reply) : (read as Reply);
  }

  /** Sends without waiting for an answer; it may be lost. */
  tell<Subject extends string, Request>(
    operation: Operation<Subject, Request, unknown>,
    params: SubjectParams<Subject>,
    request: Request,
  ): void {
    const subject = this.#subject(operation, params);
    const local = this.#local.get(subject);
    const deadline = this.#clock.monotonic() + operation.timeoutMs;
    if (local === undefined) {
      this.#transport.publish(subject, encode(request), {
        headers: {
          [HEADER.deadline]: String(operation.timeoutMs),
          [HEADER.protocol]: String(versionOf(operation, request)),
        },
      });
      return;
    }
    local.handle(request, { deadline, signal: undefined }).catch((error: unknown) => {
      this.#logger.debug({ subject, error: asVdbError(error).message }, "a told message failed");
    });
  }

  /** Serves an operation. One handler a subject and process; with `queue`, one of the group's members gets each message. */
  serve<Subject extends string, Request, Reply>(
    operation: Operation<Subject, Request, Reply>,
    params: SubjectParams<Subject>,
    handler: Handler<Request, Reply>,
    options: MailboxOptions & { queue?: string },
  ): Served {
    const subject = this.#subject(operation, params);
    const mailbox = new Mailbox(options);
    const stats = this.#stats.get(operation.subject) ?? new ServedStats();
    this.#stats.set(operation.subject, stats);
    const handle = async (request: Request, call: Call): Promise<Reply> => {
      const started = this.#clock.monotonic();
      stats.requests++;
      try {
        return await mailbox.run(() => {
          if (this.#clock.monotonic() >= call.deadline) throw expired(subject);
          return handler(request, call);
        });
      } catch (error) {
        const known = asVdbError(error);
        stats.failed(known);
        if (known.kind === "internal") this.#logger.error({ subject, err: error }, "handler failed");
        throw known;
      } finally {
        stats.took(this.#clock.monotonic() - started);
      }
    };
    if (this.#local.has(subject)) throw new Error(`${subject} is served twice in this process`);
    this.#local.set(subject, { handle: (request, call) => handle(request as Request, call) });
    let subscription: WireSubscription | undefined;
    let left = Promise.resolve();
    const join = () => {
      subscription ??= this.#transport.subscribe(
        subject,
        (message) => this.#onRequest(message, operation, handle),
        options.queue === undefined ? {} : { queue: options.queue },
      );
    };
    const leave = () => {
      // Messages already on their way are answered too: their senders would wait until the deadline.
      if (subscription !== undefined) left = subscription.drain();
      subscription = undefined;
    };
    join();
    return {
      subject,
      stats,
      leave,
      join,
      drain: async () => {
        this.#local.delete(subject);
        leave();
        await left;
        await mailbox.idle();
      },
    };
  }

  /** Of the operations that this node serves or has served. */
  get stats(): ReadonlyMap<string, ServedStats> {
    return this.#stats;
  }

  /** Resolves when the server knows every subscription made so far: only then may a node announce itself. */
  flush(): Promise<void> {
    return this.#transport.flush();
  }

  close(): void {
    this.#inbox.unsubscribe();
    for (const pending of [...this.#pending.values()]) pending.settle(new VdbError("canceled", "the node is stopping"));
    for (const { expiry } of this.#incoming.values()) expiry[Symbol.dispose]();
  }

  #subject(operation: Operation, params: unknown): string {
    return `${this.#prefix}.${fillSubject(operation.subject, params as Record<string, string | number>)}`;
  }

  #withDeadline<T>(work: Promise<T>, deadline: number, signal: StopSignal | undefined, subject: string): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const timer = this.#clock.timer(Math.max(0, deadline - this.#clock.monotonic()), () => reject(expired(subject)));
      const onAbort = () => reject(new VdbError("canceled", `${subject}: the caller gave up`));
      signal?.addEventListener("abort", onAbort, { once: true });
      if (signal?.aborted) onAbort();
      const done = () => {
        timer[Symbol.dispose]();
        signal?.removeEventListener("abort", onAbort);
      };
      work.then(
        (value) => {
          done();
          resolve(value);
        },
        (error: unknown) => {
          done();
          reject(error instanceof Error ? error : new Error(String(error)));
        },
      );
    });
  }

  async #askRemote(
    subject: string,
    data: Uint8Array,
    headers: Record<string, string>,
    deadline: number,
    signal?: StopSignal,
  ): Promise<Uint8Array> {
    const remainingMs = Math.floor(deadline - this.#clock.monotonic());
    if (remainingMs <= 0) throw expired(subject);
    if (this.#pending.size >= MAX_PENDING_ASKS) {
      throw new VdbError("overloaded", `${this.#pending.size} asks of this node wait for replies, ask again later`);
    }
    const token = String(++this.#lastToken);
    const answered = new Promise<RawReply>((resolve, reject) => {
      this.#pending.set(token, {
        assembler: new ChunkAssembler(),
        settle: (outcome) => {
          this.#pending.delete(token);
          if (outcome instanceof Error) reject(outcome);
          else resolve(outcome);
        },
      });
    });
    const reply = `${this.#transport.inbox}.${token}`;
    try {
      headers[HEADER.deadline] = String(remainingMs);
      this.#send(subject, data, headers, reply);
      const outcome = await this.#withDeadline(answered, deadline, signal, subject);
      // Decoded here and not where it arrives: what a broken peer sends fails the ask, not the connection.
      if (outcome.failed) throw VdbError.fromWire(decode(outcome.data) as WireError);
      return outcome.data;
    } finally {
      this.#pending.delete(token);
    }
  }

  #send(subject: string, data: Uint8Array, headers: Record<string, string>, reply?: string): void {
    const chunks = splitChunks(data, this.#transport.maxPayload);
    if (chunks.length === 1) {
      this.#transport.publish(subject, data, { reply, headers: hasAny(headers) ? headers : undefined });
      return;
    }
    chunks.forEach((chunk, index) => {
      this.#transport.publish(subject, chunk, {
        reply,
        headers: { [HEADER.chunk]: `${index}/${chunks.length}`, ...headers },
      });
    });
  }

  #onReply(message: WireMessage): void {
    const pending = this.#pending.get(message.subject.slice(message.subject.lastIndexOf(".") + 1));
    if (pending === undefined) return;
    if (message.noResponders) {
      const message = "nobody serves this request: the node is gone or not ready";
      pending.settle(new VdbError("node_not_found", message, { details: { isUnserved: true } }));
      return;
    }
    const data = pending.assembler.add(message.data, message.header(HEADER.chunk));
    if (data !== null) pending.settle({ data, failed: message.header(HEADER.error) !== undefined });
  }

  #onRequest<Request, Reply>(
    message: WireMessage,
    operation: Operation<string, Request, Reply>,
    handle: (request: Request, call: Call) => Promise<Reply>,
  ): void {
    const budgetMs = Number(message.header(HEADER.deadline) ?? operation.timeoutMs);
    const deadline = this.#clock.monotonic() + (Number.isFinite(budgetMs) ? budgetMs : operation.timeoutMs);
    const data = this.#assemble(message, deadline);
    if (data === null) return;
    this.#answer(message, data, deadline, operation, handle).catch((error: unknown) => {
      this.#logger.error({ subject: message.subject, err: error }, "reply could not be sent");
    });
  }

  async #answer<Request, Reply>(
    message: WireMessage,
    data: Uint8Array,
    deadline: number,
    operation: Operation<string, Request, Reply>,
    handle: (request: Request, call: Call) => Promise<Reply>,
  ): Promise<void> {
    const contentType = operation.isPublic ? (message.header(HEADER.contentType) ?? JSON_TYPE) : MSGPACK_TYPE;
    // A caller whose content type is unknown is told so in JSON.
    const replyType = contentType.startsWith(MSGPACK_TYPE) ? MSGPACK_TYPE : JSON_TYPE;
    const headers: Record<string, string> = operation.isPublic ? { [HEADER.contentType]: replyType } : {};
    let reply: Uint8Array;
    try {
      requireKnownProtocol(message.header(HEADER.protocol));
      const request = requestOf(operation, decodePublic(data, contentType));
      const authorization = operation.isPublic ? message.header(HEADER.authorization) : undefined;
      const answer = await handle(request, { deadline, signal: undefined, authorization });
      reply = operation.isPublic ? await encodeReply(answer, replyType, this.#clock) : encodePublic(answer, replyType);
      if (message.header(HEADER.deadline) === undefined) {
        // A plain NATS client cannot join chunks.
        this.#assertWhole(reply, "reply", "ask for fewer rows or fields");
      }
    } catch (error) {
      const known = asVdbError(error);
      // A public reply carries its error in the body, as Milvus's do, for clients that know no headers of ours.
      if (!operation.isPublic) headers[HEADER.error] = "1";
      reply = encodePublic(operation.isPublic ? errorBody(known) : known.toWire(), replyType);
    }
    if (message.reply !== undefined) this.#send(message.reply, reply, headers);
  }

  #assertWhole(data: Uint8Array, what: string, remedy: string): void {
    const { maxPayload } = this.#transport;
    if (splitChunks(data, maxPayload).length === 1) return;
    throw new VdbError(
      "parameter_too_large",
      `${what} of ${data.length} bytes is larger than a NATS message (${maxPayload}): ${remedy}`,
    );
  }

  /** A request's bytes once all its chunks are here; null until then. The chunks of an abandoned request are dropped at its deadline. */
  #assemble(message: WireMessage, deadline: number): Uint8Array | null {
    const chunk = message.header(HEADER.chunk);
    if (chunk === undefined || message.reply === undefined) return message.data;
    const id = message.reply;
    let incoming = this.#incoming.get(id);
    if (incoming === undefined) {
      const expiry = this.#clock.timer(deadline - this.#clock.monotonic(), () => this.#incoming.delete(id));
      incoming = { assembler: new ChunkAssembler(), expiry };
      this.#incoming.set(id, incoming);
    }
    const data = incoming.assembler.add(message.data, chunk);
    if (data === null) return null;
    incoming.expiry[Symbol.dispose]();
    this.#incoming.delete(id);
    return data;
  }
}

/** @throws VdbError invalid_parameter */
function requestOf<Request>({ subject, request }: Operation<string, Request>, given: unknown): Request {
  const read = readShape(request, given);
  if (read !== REFUSED) return read as Request;
  const parsed = request.safeParse(given);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new VdbError("invalid_parameter", `${subject}: ${issue?.path.join(".")}: ${issue?.message}`);
}

/** @throws VdbError newer_version */
function requireKnownProtocol(version: string | undefined): void {
  if (version === undefined || Number(version) <= PROTOCOL_VERSION) return;
  throw new VdbError(
    "newer_version",
    `the request is in version ${version} of the nodes' protocol, this node speaks ${PROTOCOL_VERSION}: upgrade it first`,
  );
}

/** The version of the nodes' protocol that a request takes. */
function versionOf<Request>({ takes }: Operation<string, Request>, request: Request): number {
  return takes?.(request) ?? 1;
}

/** One that does not know what a request takes is being upgraded, or another one answers next time: asking again helps. */
function asOlderNode(error: unknown, version: number): unknown {
  if (version === 1 || !isVdbError(error, "newer_version")) return error;
  return new VdbError("not_ready", `asked of a node of an older version: ${error.message}`, { cause: error });
}

/** Whether a request got to nobody: a dead node has its lease for some seconds more, a new one before it serves. */
export function wasUnserved(error: unknown): boolean {
  return isVdbError(error, "node_not_found") && error.details?.isUnserved === true;
}

function hasAny(headers: Record<string, string>): boolean {
  for (const _ in headers) return true;
  return false;
}

function expired(subject: string): VdbError {
  return new VdbError("deadline_exceeded", `${subject}: no answer within the deadline`);
}
