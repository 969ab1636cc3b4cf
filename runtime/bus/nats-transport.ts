/** The wire on NATS: one connection, used for requests and replies only (log and objects have connections of their own). */
import { createInbox, type Msg, type NatsConnection, headers as newHeaders, type PublishOptions } from "nats";
import { errorMessage, VdbError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { Transport, WireMessage } from "./port.ts";

/** A message of this size is worth a write of its own. */
const LARGE_BYTES = 64 << 10;

interface Outgoing {
  subject: string;
  data: Uint8Array;
  options: PublishOptions;
}

export function createNatsTransport(nc: NatsConnection, inboxPrefix: string, logger: Logger): Transport {
  let outgoing: Outgoing[] = [];
  /**
   * A write to the socket costs more than all the rest of a message, and the client makes one in each microtask in
   * which something was published. So messages are collected and go out together, once the loop has looked at all its
   * sockets.
   */
  const sendAll = () => {
    const messages = outgoing;
    outgoing = [];
    for (const { subject, data, options } of messages) {
      try {
        nc.publish(subject, data, options);
      } catch (error) {
        // The connection has been closed meanwhile: who waits for an answer has been told.
        logger.debug({ subject, error: errorMessage(error) }, "message was not sent");
      }
    }
  };
  return {
    inbox: createInbox(inboxPrefix),
    maxPayload: nc.info?.max_payload ?? 1024 * 1024,
    publish(subject, data, options = {}) {
      const hdrs = options.headers === undefined ? undefined : newHeaders();
      for (const [name, value] of Object.entries(options.headers ?? {})) hdrs?.set(name, value);
      if (nc.isClosed()) throw new VdbError("unavailable", "the connection to NATS is closed");
      const all: PublishOptions = {};
      if (options.reply !== undefined) all.reply = options.reply;
      if (hdrs !== undefined) all.headers = hdrs;
      if (data.length >= LARGE_BYTES) {
        // After those that are waiting, to keep the order; and published at once, so that a message too large throws
        // here.
        sendAll();
        nc.publish(subject, data, all);
        return;
      }
      if (outgoing.length === 0) setImmediate(sendAll);
      outgoing.push({ subject, data, options: all });
    },
    subscribe(subject, handler, options = {}) {
      const subscription = nc.subscribe(subject, {
        ...(options.queue === undefined ? {} : { queue: options.queue }),
        callback: (error, msg) => {
          if (error !== null && error !== undefined) {
            logger.error({ subject, error: errorMessage(error) }, "subscription ended by the server");
            return;
          }
          handler(wireMessage(msg));
        },
      });
      return {
        unsubscribe: () => subscription.unsubscribe(),
        // Rejects when the connection is closed: then nothing is on its way.
        drain: () => subscription.drain().catch(() => undefined),
      };
    },
    onDisconnect(callback) {
      void (async () => {
        // What is published while the connection is away is dropped at the next dial, so its return counts as a loss,
        // too.
        for await (const { type } of nc.status()) if (type === "disconnect" || type === "reconnect") callback();
      })();
    },
    flush() {
      sendAll();
      return nc.flush();
    },
    traffic() {
      const stats = nc.stats();
      return { sentBytes: stats.outBytes, receivedBytes: stats.inBytes };
    },
  };
}

function wireMessage(msg: Msg): WireMessage {
  return {
    subject: msg.subject,
    data: msg.data,
    reply: msg.reply === "" ? undefined : msg.reply,
    header: (name) => msg.headers?.get(name) || undefined,
    noResponders: msg.headers !== undefined && msg.headers.code === 503 && msg.data.length === 0,
  };
}
