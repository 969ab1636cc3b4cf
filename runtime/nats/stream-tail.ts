/**
 * Follows a JetStream stream: each message once, in order, one handler call at a time, over reconnects, server
 * restarts and lost consumers.
 *
 * An ephemeral push consumer with flow control, recreated from the last message on whenever it shows a gap in its own sequence,
 * falls silent (heartbeats are due), or the connection was lost. The client library's ordered consumers are not used: when the
 * server that hosts the consumer dies they stay silent for 30 to 90 seconds.
 *
 * Back-pressure: a flow-control request of the server is answered only after what came before it has been handled, so
 * the server never has more than its window (32 MB at most) on its way to us.
 *
 * Invariant: `#lastSeq` is the stream sequence of the newest message that entered the queue; a message enters only
 * with the next consumer sequence of the current consumer.
 */
import {
  AckPolicy,
  type ConsumerConfig,
  DeliverPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamManager,
  jetstreamManager,
  ReplayPolicy,
} from "@nats-io/jetstream";
import { errors, type Msg, type MsgHdrs, type NatsConnection, nanos, nuid, type Subscription } from "nats";
import { errorMessage, VdbError } from "../errors.ts";
import type { Tail } from "../log/port.ts";
import { ownBytes } from "../shared-buffers.ts";
import { newInbox } from "./connect.ts";

/** Heartbeats of a consumer that may be on another server than the one we are connected to: if it dies, nothing else tells. */
const HEARTBEAT_MS = 1_000;
/** With one server, consumers are lost together with the connection; each heartbeat wakes the server and us. */
const ALONE_HEARTBEAT_MS = 10_000;
/** One may be late. */
const SILENT_HEARTBEATS = 2.5;
const CREATE_TIMEOUT_MS = 2_000;
/** Longer than the election of a replicated stream (4-9 s), so that an election does not fail a start. */
const OPEN_TIMEOUT_MS = 12_000;
const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 1_000;
/** A stream may be unknown for a moment while a cluster recovers; after so many refusals it does not exist. */
const STREAM_MISSING_TRIES_MAX = 10;

export interface StreamMessage {
  subject: string;
  seq: number;
  headers: MsgHdrs | undefined;
  /** May be a view of a larger buffer of the connection. */
  payload: Uint8Array;
  /** Number of matching messages still to come. */
  pending: number;
}

export interface StreamTailOptions {
  stream: string;
  /** Empty: all subjects. */
  filterSubjects: string[];
  /** bySeq: from this sequence on (a purged one: from the first stored). lastPerSubject: the newest of each subject, then all that follows. */
  start: { bySeq: number } | "lastPerSubject";
  handler: (message: StreamMessage) => void | Promise<void>;
  /**
   * Called when everything that was there at the start has been handled, and again after each gap. What follows waits for it;
   * following fails with what it throws.
   */
  onCaughtUp?: () => void | Promise<void>;
  /** Called when following was interrupted: until the next onCaughtUp, what happened meanwhile arrives. */
  onGap?: () => void;
  /** Between two heartbeats of the server while nothing else comes; by default as long as the server allows. */
  heartbeatMs?: number;
  /**
   * By the wall clock: after this long without a message from the server, messages may have been missed for good, and following
   * fails.
   */
  absenceMsMax?: number;
}

/** Resolves when the consumer exists. @throws VdbError unavailable when it cannot be made, for longer than an election takes */
export async function tailStream(connection: NatsConnection, options: StreamTailOptions): Promise<Tail> {
  const manager = await jetstreamManager(connection, { checkAPI: false, timeout: CREATE_TIMEOUT_MS });
  const tail = new StreamTail(connection, manager, options);
  await tail.open();
  return tail;
}

/** One life of the consumer on the server. */
interface Consumer {
  subscription: Subscription;
  /** Consumer sequence of the newest message received. */
  received: number;
  /** Messages that existed when it was created; undefined until the server has told. */
  backlog: number | undefined;
  handled: number;
}

type QueueItem =
  | { kind: "message"; message: StreamMessage; consumer: Consumer }
  | { kind: "flowControl"; reply: string; consumer: Consumer }
  /** A message that has been handled before. */
  | { kind: "skipped"; pending: number; consumer: Consumer }
  | { kind: "drained" }
  | { kind: "gap" };

class StreamTail implements Tail {
  readonly failed: Promise<never>;
  readonly #connection: NatsConnection;
  readonly #manager: JetStreamManager;
  readonly #options: StreamTailOptions;
  readonly #status: ReturnType<NatsConnection["status"]> & { stop?: () => void };
  readonly #queue: QueueItem[] = [];
  #fail: (error: Error) => void = () => undefined;
  #consumer: Consumer | null = null;
  #lastSeq: number;
  #isCaughtUp: boolean = false;
  #isPumping: boolean = false;
  #isStopped: boolean = false;
  #pumped: Promise<void> = Promise.resolve();
  #lastHeardMs = 0;
  /** When the server was last there, by the wall clock: a machine that sleeps has its monotonic clock stand still. */
  #lastThereMs = Date.now();
  #heartbeatMs = HEARTBEAT_MS;
  #silence: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;

  constructor(connection: NatsConnection, manager: JetStreamManager, options: StreamTailOptions) {
    this.#connection = connection;
    this.#manager = manager;
    this.#options = options;
    this.#lastSeq = options.start === "lastPerSubject" ? 0 : Math.max(1, options.start.bySeq) - 1;
    this.failed = new Promise<never>((_, reject) => {
      this.#fail = reject;
    });
    this.failed.catch(() => undefined);
    this.#status = connection.status();
  }

  async open(): Promise<void> {
    void this.#watchConnection();
    const deadline = performance.now() + OPEN_TIMEOUT_MS;
    for (let tries = 0; ; tries++) {
      try {
        await this.#createConsumer();
        this.#watchSilence();
        return;
      } catch (error) {
        // Made anew after a reconnect, or a handler that threw before the server's reply has ended the tail: `failed` says so.
        if (error instanceof SupersededError) {
          if (!this.#isStopped) this.#watchSilence();
          return;
        }
        if (!mayPass(error) || performance.now() >= deadline) {
          this.#stop();
          const message = `cannot follow stream ${this.#options.stream}: ${errorMessage(error)}`;
          throw new VdbError("unavailable", message, { cause: error });
        }
      }
      await new Promise((done) => setTimeout(done, retryMs(tries)));
    }
  }

  /** Resolves once a running handler call has ended; no other follows. Not to be awaited inside the handler. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop();
    await this.#pumped;
  }

  #stop(): void {
    this.#isStopped = true;
    this.#queue.length = 0;
    clearTimeout(this.#silence);
    clearTimeout(this.#retry);
    this.#status.stop?.();
    this.#consumer?.subscription.unsubscribe();
    this.#consumer = null;
  }

  // -- the consumer's life

  /** Replaces the consumer at once; retries until the server creates one. */
  #recreate(tries = 0): void {
    if (this.#isStopped) return;
    clearTimeout(this.#retry);
    // Before the next consumer's first message; what the old one has brought stands before it.
    this.#enqueue({ kind: "gap" });
    this.#createConsumer().catch((error: unknown) => {
      if (this.#isStopped || error instanceof SupersededError) return;
      const isMissing = error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamNotFound;
      if (isMissing && tries >= STREAM_MISSING_TRIES_MAX) {
        this.#failWith(new VdbError("unavailable", `stream ${this.#options.stream} does not exist any more`));
        return;
      }
      this.#retry = setTimeout(() => this.#recreate(tries + 1), retryMs(tries));
    });
  }

  async #createConsumer(): Promise<void> {
    this.#consumer?.subscription.unsubscribe();
    // One that names no cluster has no routes, gateways or leaf connections of its own making: JetStream clusters cannot be
    // reached through it, so whatever stream it answers for is its own. (A leaf node names itself: it is taken for a member, which
    // costs heartbeats.) Made anew at each reconnect, and so by what the server there says. If it were wrong all the same,
    // nothing would be missed: a lost consumer would be found after 25 s instead of 2.5.
    const isAlone = this.#connection.info?.cluster === undefined;
    this.#heartbeatMs = this.#options.heartbeatMs ?? (isAlone ? ALONE_HEARTBEAT_MS : HEARTBEAT_MS);
    const deliverSubject = newInbox(this.#connection);
    const consumer: Consumer = {
      subscription: this.#connection.subscribe(deliverSubject, {
        callback: (error, message) => {
          if (error === null || error === undefined) this.#receive(consumer, message);
        },
      }),
      received: 0,
      backlog: undefined,
      handled: 0,
    };
    this.#consumer = consumer;
    this.#heard();
    const info = await this.#manager.consumers.add(this.#options.stream, this.#consumerConfig(deliverSubject));
    if (this.#consumer !== consumer) throw new SupersededError();
    this.#heard();
    this.#failIfLongAway();
    // Messages may have overtaken the reply.
    consumer.backlog = info.num_pending + info.delivered.consumer_seq;
    if (consumer.handled >= consumer.backlog) this.#enqueue({ kind: "drained" });
  }

  #consumerConfig(deliverSubject: string): ConsumerConfig {
    const { filterSubjects, start } = this.#options;
    const config: Partial<ConsumerConfig> = {
      name: nuid.next(),
      deliver_subject: deliverSubject,
      ack_policy: AckPolicy.None,
      replay_policy: ReplayPolicy.Instant,
      max_deliver: 1,
      mem_storage: true,
      num_replicas: 1,
      flow_control: true,
      idle_heartbeat: nanos(this.#heartbeatMs),
      // Nobody deletes it: without our subscription the server does, after this time.
      inactive_threshold: nanos(30_000),
    };
    if (filterSubjects.length === 1) config.filter_subject = filterSubjects[0]!;
    if (filterSubjects.length > 1) config.filter_subjects = filterSubjects;
    if (start === "lastPerSubject" && this.#lastSeq === 0) {
      config.deliver_policy = DeliverPolicy.LastPerSubject;
    } else {
      config.deliver_policy = DeliverPolicy.StartSequence;
      config.opt_start_seq = this.#lastSeq + 1;
    }
    return config as ConsumerConfig;
  }

  async #watchConnection(): Promise<void> {
    for await (const status of this.#status) {
      if (this.#isStopped) return;
      if (status.type === "reconnect") this.#recreate();
      if (status.type === "close") {
        this.#failWith(new VdbError("unavailable", "the connection to NATS was closed"));
        return;
      }
    }
  }

  #heard(): void {
    this.#lastHeardMs = performance.now();
  }

  #failIfLongAway(): void {
    const nowMs = Date.now();
    const awayMs = nowMs - this.#lastThereMs;
    this.#lastThereMs = nowMs;
    if (awayMs <= (this.#options.absenceMsMax ?? Number.POSITIVE_INFINITY)) return;
    const hours = Math.round(awayMs / 3_600_000);
    const message = `nothing was heard of stream ${this.#options.stream} for ${hours} hours: what was deleted meanwhile is not known`;
    this.#failWith(new VdbError("unavailable", message));
  }

  #watchSilence(): void {
    const silenceMs = SILENT_HEARTBEATS * this.#heartbeatMs;
    const remaining = this.#lastHeardMs + silenceMs - performance.now();
    this.#silence = setTimeout(
      () => {
        // After a stall of our own event loop what has arrived meanwhile is still to be read: let it be read first.
        setImmediate(() => {
          if (this.#isStopped) return;
          const isSilent = performance.now() - this.#lastHeardMs >= SILENT_HEARTBEATS * this.#heartbeatMs;
          if (isSilent) {
            this.#heard();
            this.#recreate();
          }
          this.#watchSilence();
        });
      },
      Math.max(10, remaining),
    );
    this.#silence.unref();
  }

  // -- what arrives

  #receive(consumer: Consumer, message: Msg): void {
    if (this.#isStopped || consumer !== this.#consumer) return;
    this.#heard();
    this.#failIfLongAway();
    if (this.#isStopped) return;
    const status = message.headers?.code ?? 0;
    if (status === 100) this.#receiveControl(consumer, message);
    else if (status === 0) this.#receiveMessage(consumer, message);
    // Others (409: consumer deleted or leader changed) end this consumer.
    else this.#recreate();
  }

  #receiveControl(consumer: Consumer, message: Msg): void {
    if (message.reply !== undefined && message.reply !== "") {
      this.#enqueue({ kind: "flowControl", reply: message.reply, consumer });
      return;
    }
    const lastSent = Number(message.headers?.get("Nats-Last-Consumer"));
    if (lastSent > consumer.received) {
      this.#recreate();
      return;
    }
    // The server waits for an answer that was lost: give it, unless it is still on its way behind what we handle.
    const stalled = message.headers?.get("Nats-Consumer-Stalled");
    if (stalled !== undefined && stalled !== "" && !this.#isPumping) this.#connection.publish(stalled);
  }

  #receiveMessage(consumer: Consumer, message: Msg): void {
    const delivery = parseDelivery(message.reply);
    if (delivery.consumerSeq !== consumer.received + 1) {
      this.#recreate();
      return;
    }
    consumer.received = delivery.consumerSeq;
    // A start beyond the newest message (of a replica that is behind) is moved back to it by the server.
    if (delivery.streamSeq <= this.#lastSeq) {
      this.#enqueue({ kind: "skipped", pending: delivery.pending, consumer });
      return;
    }
    this.#lastSeq = delivery.streamSeq;
    const item = {
      subject: message.subject,
      seq: delivery.streamSeq,
      headers: message.headers,
      pending: delivery.pending,
      // Last: what else is read of the message is read from the same buffer.
      payload: ownBytes(message.data),
    };
    this.#enqueue({ kind: "message", message: item, consumer });
  }

  // -- handling, in order

  #enqueue(item: QueueItem): void {
    if (this.#isStopped) return;
    this.#queue.push(item);
    if (this.#isPumping) return;
    this.#isPumping = true;
    this.#pumped = this.#pump();
  }

  async #pump(): Promise<void> {
    try {
      // Indexed, since shifting a long array is slow; emptied whenever it has been worked through.
      for (let i = 0; i < this.#queue.length; i++) {
        const item = this.#queue[i]!;
        const handling = this.#handle(item);
        if (handling !== undefined) await handling;
        if (this.#isStopped) return;
        if (i >= 256 || i === this.#queue.length - 1) {
          this.#queue.splice(0, i + 1);
          i = -1;
        }
      }
    } catch (error) {
      this.#failWith(error instanceof Error ? error : new Error(String(error)));
    } finally {
      // Here and not in a then: the next message of the same packet may be enqueued before a microtask runs.
      this.#isPumping = false;
    }
  }

  #handle(item: QueueItem): void | Promise<void> {
    if (item.kind === "drained") return this.#caughtUp();
    if (item.kind === "gap") {
      // One that comes before the first time belongs to the start.
      if (this.#isCaughtUp) this.#options.onGap?.();
      this.#isCaughtUp = false;
      return;
    }
    if (item.kind === "skipped") return this.#handled(item.consumer, item.pending);
    if (item.kind === "flowControl") {
      if (item.consumer === this.#consumer) this.#connection.publish(item.reply);
      return;
    }
    const handling = this.#options.handler(item.message);
    if (handling === undefined) return this.#handled(item.consumer, item.message.pending);
    return handling.then(() => this.#handled(item.consumer, item.message.pending));
  }

  #handled(consumer: Consumer, pending: number): void | Promise<void> {
    if (this.#isCaughtUp) return;
    consumer.handled++;
    const isBacklogDone = consumer.backlog !== undefined && consumer.handled >= consumer.backlog;
    if (isBacklogDone || pending === 0) return this.#caughtUp();
  }

  #caughtUp(): void | Promise<void> {
    if (this.#isCaughtUp) return;
    this.#isCaughtUp = true;
    return this.#options.onCaughtUp?.();
  }

  #failWith(error: Error): void {
    if (this.#isStopped) return;
    this.#stop();
    this.#fail(error);
  }
}

/** The attempt's consumer was replaced while the server made it. */
class SupersededError extends Error {}

function retryMs(tries: number): number {
  return Math.min(RETRY_MS_MAX, RETRY_MS_MIN << Math.min(tries, 10));
}

/** Whether a consumer may be made a little later: the stream has no leader now, or the connection is away. */
function mayPass(error: unknown): boolean {
  for (let link = error; link instanceof Error; link = link.cause) {
    if (link instanceof JetStreamApiError) return link.status >= 500;
    if (link instanceof errors.TimeoutError || link instanceof errors.NoRespondersError) return true;
  }
  return false;
}

/**
 * $JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>, or with
 * <domain>.<account> before the stream (and a random token at the end) from servers that have v2 ack subjects on.
 */
function parseDelivery(reply: string | undefined): { streamSeq: number; consumerSeq: number; pending: number } {
  const tokens = (reply ?? "").split(".");
  const offset = tokens.length > 9 ? 2 : 0;
  return {
    streamSeq: Number(tokens[5 + offset]),
    consumerSeq: Number(tokens[6 + offset]),
    pending: Number(tokens[8 + offset]),
  };
}
