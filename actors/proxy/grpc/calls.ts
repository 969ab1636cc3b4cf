/**
 * Unary calls of gRPC: what grpc-js makes of them, and nothing of what they mean.
 *
 * Owns     the sessions of the connections that it is given.
 * Invariants
 *   W1. Nothing is thrown into the library: what fails ends the call with a status.
 *   W2. Nobody works for a client that has gone: its call's signal aborts.
 *   W3. A message that does not become whole in time ends its call.
 *   W4. Closing or sending away lets what runs finish: clients get GOAWAY and go elsewhere with what comes next.
 */
import type { Duplex } from "node:stream";
import {
  type ConnectionInjector,
  logVerbosity,
  type Metadata,
  Server,
  ServerCredentials,
  ServerInterceptingCall,
  type ServerInterceptor,
  type ServerUnaryCall,
  type sendUnaryData,
  setLogVerbosity,
  status,
} from "@grpc/grpc-js";
import type { Clock } from "../../../runtime/clock.ts";
import { asVdbError } from "../../../runtime/errors.ts";
import { Stop, type StopSignal } from "../../../runtime/stop.ts";
import { BODY_MS, Body, type BodyBudget } from "../request-bodies.ts";
import type { GrpcMethod } from "./definitions.ts";

/** Ends a call with a status instead of a reply. */
export class CallError extends Error {
  readonly status: status;

  constructor(code: status, message: string) {
    super(message);
    this.status = code;
  }
}

/** What is known of a call before its message is read. */
export interface CallHead {
  /** The first of a header's values. @param name in lower case */
  header(name: string): string | undefined;
  /** What is left of the time that the client gives; undefined: it names none. */
  readonly timeoutMs: number | undefined;
  /** Aborted when the client has gone, or has called the call off. */
  readonly gone: StopSignal;
}

export interface IncomingCall extends CallHead {
  /** The request's bytes, counted in the budget until the call is answered. @throws VdbError rate_limited */
  message(): Buffer;
}

export interface Calls {
  /** Takes a connection that begins with HTTP/2's preface. */
  take(connection: Duplex): void;
  /** Tells the clients of all connections to go elsewhere with their next call. */
  sendAway(): void;
  /** Takes nothing new; resolves when what runs is answered. */
  close(): Promise<void>;
}

export interface CallOptions {
  clock: Clock;
  budget: BodyBudget;
  /** Of one message. */
  messageBytesMax: number;
  replyBytesMax: number;
  /** Of one connection at once. */
  callsMax: number;
  methods: readonly GrpcMethod[];
  /** Asked before a call's message is read; undefined: all may call. @throws CallError */
  admit: ((head: CallHead) => Promise<void>) | undefined;
  /** The reply. @throws CallError, and nothing else */
  answer(method: GrpcMethod, call: IncomingCall): Promise<Buffer>;
}

/** A connection whose client says nothing for this long is asked whether it is there, and dropped when it is not. */
const KEEPALIVE_MS = 60_000;
const KEEPALIVE_TIMEOUT_MS = 20_000;

const LATE = {
  code: status.DEADLINE_EXCEEDED,
  details: `the request's message did not arrive within ${BODY_MS} ms`,
};

type Unary = ServerUnaryCall<Buffer, Buffer>;

const asIs = (bytes: Buffer) => bytes;

export function makeCalls(options: CallOptions): Calls {
  // The library writes headers that it cannot read to the console as they are: passwords.
  setLogVerbosity(logVerbosity.NONE);
  const server = new Server({
    "grpc.max_receive_message_length": options.messageBytesMax,
    "grpc.max_send_message_length": options.replyBytesMax,
    "grpc.max_concurrent_streams": options.callsMax,
    "grpc.keepalive_time_ms": KEEPALIVE_MS,
    "grpc.keepalive_timeout_ms": KEEPALIVE_TIMEOUT_MS,
    "grpc.enable_channelz": 0,
    interceptors: [admitting(options)],
  });
  for (const method of options.methods) register(server, method, options);
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

/** The library reads a message when the headers have been passed on. */
function admitting({ admit, clock }: CallOptions): ServerInterceptor {
  return (_, call) => {
    const gone = new Stop();
    let timer: Disposable | undefined;
    const read = (metadata: Metadata, pass: (metadata: Metadata) => void) => {
      if (!gone.aborted) timer = clock.timer(BODY_MS, () => call.sendStatus(LATE));
      pass(metadata);
    };
    return new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata(metadata, pass) {
            if (admit === undefined) return read(metadata, pass);
            admit({ header: (name) => headerOf(metadata, name), timeoutMs: undefined, gone }).then(
              () => read(metadata, pass),
              (error: unknown) => call.sendStatus(statusObject(error)),
            );
          },
          // Only now is the call handled: one that does not end holds its message as long.
          onReceiveHalfClose(pass) {
            timer?.[Symbol.dispose]();
            pass();
          },
          // However the call ends.
          onCancel() {
            timer?.[Symbol.dispose]();
            gone.abort();
          },
        }),
    });
  };
}

function register(server: Server, method: GrpcMethod, options: CallOptions): void {
  const { path, isRequestStream, isReplyStream } = method;
  if (isRequestStream || isReplyStream) {
    const refuse = (call: { emit(event: "error", error: object): boolean }) =>
      call.emit("error", { code: status.UNIMPLEMENTED, details: `${method.name} is not implemented` });
    server.register(path, refuse as never, asIs, asIs, isRequestStream ? "bidi" : "serverStream");
    return;
  }
  const handle = (call: Unary, callback: sendUnaryData<Buffer>) => {
    serve(method, call, options).then(
      (bytes) => callback(null, bytes),
      (error: unknown) => callback(statusObject(error)),
    );
  };
  server.register(path, handle, asIs, asIs, "unary");
}

async function serve(method: GrpcMethod, call: Unary, { clock, budget, answer }: CallOptions): Promise<Buffer> {
  const gone = new Stop();
  call.once("cancelled", () => gone.abort());
  if (call.cancelled) gone.abort();
  const deadline = Number(call.getDeadline());
  const body = new Body(budget);
  try {
    return await answer(method, {
      header: (name) => headerOf(call.metadata, name),
      // The library's deadline is by the wall clock.
      timeoutMs: Number.isFinite(deadline) ? deadline - clock.now() : undefined,
      gone,
      message() {
        body.count(call.request.length);
        return call.request;
      },
    });
  } finally {
    body.release();
  }
}

function headerOf(metadata: Metadata, name: string): string | undefined {
  const [value] = metadata.get(name);
  return value === undefined ? undefined : String(value);
}

function statusObject(error: unknown): { code: status; details: string } {
  const isMeant = error instanceof CallError;
  const code = isMeant ? error.status : status.INTERNAL;
  return { code, details: isMeant ? error.message : asVdbError(error).message };
}
