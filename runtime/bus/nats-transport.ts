/** The wire on NATS: one connection, used for requests and replies only (log and objects have connections of their own). */
import { createInbox, type Msg, type NatsConnection, headers as newHeaders } from "nats";
import { errorMessage } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { Transport, WireMessage } from "./port.ts";

export function createNatsTransport(nc: NatsConnection, inboxPrefix: string, logger: Logger): Transport {
  return {
    inbox: createInbox(inboxPrefix),
    maxPayload: nc.info?.max_payload ?? 1024 * 1024,
    publish(subject, data, options = {}) {
      const hdrs = options.headers === undefined ? undefined : newHeaders();
      for (const [name, value] of Object.entries(options.headers ?? {})) hdrs?.set(name, value);
      nc.publish(subject, data, {
        ...(options.reply === undefined ? {} : { reply: options.reply }),
        ...(hdrs === undefined ? {} : { headers: hdrs }),
      });
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
        // What is published while the connection is away is dropped at the next dial, so the end of it counts too.
        for await (const { type } of nc.status()) if (type === "disconnect" || type === "reconnect") callback();
      })();
    },
    flush: () => nc.flush(),
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
