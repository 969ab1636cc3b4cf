/**
 * The server reports when a process is no longer connected: a death is noticed after a second, and nothing is sent while nobody
 * dies.
 *
 * Each process has a push consumer of the lease stream whose subject nobody writes and whose messages would be its own. When
 * the process's connection is gone, and its subscription with it, the server removes the consumer after a second and publishes
 * an advisory. That is only a hint in both directions: the process may be back already, and if the server that hosts the
 * consumer dies, nobody is told. Leases decide.
 */
import { AckPolicy, type ConsumerConfig, DeliverPolicy, jetstreamManager } from "@nats-io/jetstream";
import { type NatsConnection, nanos } from "nats";
import type { Clock } from "../clock.ts";
import { newInbox } from "../nats/connect.ts";
import { kvStream, kvSubject } from "./kv-names.ts";

/** A client that lost its connection reconnects within this time. */
const GONE_MS = 1_000;

const CREATE_TIMEOUT_MS = 2_000;
const RETRY_MS_MIN = 1_000;
/** In a cluster the consumer is lost with its server, which does not concern our connection. */
const RENEW_MS = 30_000;

const NAME = "here-";

/** Shows that the process is there until it is disposed of, or the connection is gone. Does not wait for the server. */
export function showPresence(
  nc: NatsConnection,
  options: { bucket: string; nodeId: string; clock: Clock },
): Disposable {
  const { bucket, nodeId, clock } = options;
  const deliverSubject = newInbox(nc);
  const subscription = nc.subscribe(deliverSubject, { callback: () => undefined });
  const config: Partial<ConsumerConfig> = {
    name: NAME + nodeId,
    deliver_subject: deliverSubject,
    filter_subject: kvSubject(bucket, `here.${nodeId}`),
    deliver_policy: DeliverPolicy.New,
    ack_policy: AckPolicy.None,
    mem_storage: true,
    num_replicas: 1,
    inactive_threshold: nanos(GONE_MS),
  };
  const status: ReturnType<NatsConnection["status"]> & { stop?: () => void } = nc.status();
  let timer: Disposable | undefined;
  let isOver = false;
  let turn = 0;
  const create = async (tries = 0): Promise<void> => {
    timer?.[Symbol.dispose]();
    const own = ++turn;
    let againMs = Math.min(RENEW_MS, RETRY_MS_MIN * 2 ** tries);
    let nextTries = tries + 1;
    try {
      const manager = await jetstreamManager(nc, { checkAPI: false, timeout: CREATE_TIMEOUT_MS });
      const { cluster } = await manager.consumers.add(kvStream(bucket), config as ConsumerConfig);
      if (cluster === undefined) return;
      againMs = RENEW_MS;
      nextTries = 0;
    } catch {
      // No leader now, or not connected: later.
    }
    if (!isOver && own === turn) timer = clock.timer(againMs, () => void create(nextTries));
  };
  void (async () => {
    for await (const { type } of status) if (type === "reconnect" && !isOver) void create();
  })();
  void create();
  return {
    [Symbol.dispose]() {
      isOver = true;
      timer?.[Symbol.dispose]();
      status.stop?.();
      subscription.unsubscribe();
    },
  };
}

/** Calls back with the node that has not been connected for a second. */
export function watchPresence(nc: NatsConnection, bucket: string, onGone: (nodeId: string) => void): Disposable {
  const subject = `$JS.EVENT.ADVISORY.CONSUMER.DELETED.${kvStream(bucket)}.*`;
  const subscription = nc.subscribe(subject, {
    callback(error, message) {
      // If the server does not permit it, only leases tell.
      if (error !== null && error !== undefined) return;
      const consumer = message.subject.slice(message.subject.lastIndexOf(".") + 1);
      if (consumer.startsWith(NAME)) onGone(consumer.slice(NAME.length));
    },
  });
  return { [Symbol.dispose]: () => subscription.unsubscribe() };
}
