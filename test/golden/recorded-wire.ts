/** What one bus puts on the wire, recorded; and played to another bus, as if it came from another process. */
import { Bus } from "../../runtime/bus/bus.ts";
import type { Transport, WireMessage } from "../../runtime/bus/port.ts";
import { VdbError } from "../../runtime/errors.ts";
import { createLogger } from "../../runtime/logger.ts";
import { systemClock } from "../../runtime/system-clock.ts";
import type { Exchange } from "./samples.ts";

/** A message as it was sent: headers by name, the time that was left (which is never the same) as a constant. */
export interface Recorded {
  headers: Record<string, string>;
  data: Uint8Array;
}

export interface RecordedExchange {
  request: Recorded[];
  reply: Recorded[];
}

const MAX_PAYLOAD = 4096 + 512;

interface Side {
  bus: Bus;
  sent: { subject: string; reply: string | undefined; message: Recorded }[];
  /** Hands a message to whoever subscribed to the subject. */
  deliver(subject: string, message: Recorded, reply?: string): void;
}

function newSide(inbox: string): Side {
  const subscriptions: { subject: string; handler: (message: WireMessage) => void }[] = [];
  const sent: Side["sent"] = [];
  const transport: Transport = {
    inbox,
    maxPayload: MAX_PAYLOAD,
    publish(subject, data, options = {}) {
      const headers = { ...options.headers };
      if (headers["Vdb-Deadline-Ms"] !== undefined) headers["Vdb-Deadline-Ms"] = "10000";
      sent.push({ subject, reply: options.reply, message: { headers, data } });
    },
    subscribe(subject, handler) {
      subscriptions.push({ subject, handler });
      return { unsubscribe: () => undefined, drain: () => Promise.resolve() };
    },
    onDisconnect: () => undefined,
    flush: () => Promise.resolve(),
    traffic: () => ({ sentBytes: 0, receivedBytes: 0 }),
  };
  const bus = new Bus({ transport, clock: systemClock, logger: createLogger({ level: "silent" }), prefix: "vdb" });
  return {
    bus,
    sent,
    deliver(subject, { headers, data }, reply) {
      const header = (name: string) => headers[name];
      for (const each of subscriptions) {
        if (each.subject !== subject && each.subject !== `${inbox}.*`) continue;
        each.handler({ subject, data, reply, header, noResponders: false });
      }
    },
  };
}

/** Asks over the wire; what both sides send is recorded. An error as the reply: what the handler throws. */
export async function recordExchange(exchange: Exchange): Promise<RecordedExchange> {
  const { caller, callee, asked } = begin(exchange);
  const request = caller.sent.splice(0);
  for (const { subject, message, reply } of request) callee.deliver(subject, message, reply);
  await untilSent(callee);
  const reply = callee.sent.splice(0);
  for (const { subject, message } of reply) caller.deliver(subject, message);
  await asked;
  const messages = (of: Side["sent"]) => of.map(({ message }) => message);
  return { request: messages(request), reply: messages(reply) };
}

/** Plays recorded messages to today's code: the request as the handler sees it, the reply as the caller gets it. */
export async function playExchange(
  exchange: Exchange,
  recorded: RecordedExchange,
): Promise<{ request: unknown; reply: unknown }> {
  const { caller, callee, asked, seen } = begin(exchange);
  const [{ subject, reply }] = caller.sent as [Side["sent"][number]];
  for (const message of recorded.request) callee.deliver(subject, message, reply);
  await untilSent(callee);
  for (const message of recorded.reply) caller.deliver(reply!, message);
  return { request: seen.request, reply: await asked };
}

/** What today's code answers to a recorded request. */
export async function answerTo(exchange: Exchange, request: readonly Recorded[]): Promise<Recorded[]> {
  const { caller, callee } = begin(exchange);
  const [{ subject, reply }] = caller.sent as [Side["sent"][number]];
  for (const message of request) callee.deliver(subject, message, reply);
  await untilSent(callee);
  return callee.sent.map(({ message }) => message);
}

function begin({ operation, params, request, reply }: Exchange) {
  const caller = newSide("_INBOX.caller");
  const callee = newSide("_INBOX.callee");
  const seen: { request?: unknown } = {};
  callee.bus.serve(
    operation,
    params,
    (received) => {
      seen.request = received;
      if (reply instanceof VdbError) throw reply;
      return reply;
    },
    { concurrency: 1, capacity: 1 },
  );
  const deadline = systemClock.monotonic() + 10_000;
  const asked: Promise<unknown> = caller.bus
    .ask(operation, params, request, { deadline })
    .catch((error: unknown) => (error instanceof VdbError ? { error: error.toWire() } : Promise.reject(error)));
  return { caller, callee, asked, seen };
}

async function untilSent(side: Side): Promise<void> {
  for (let turns = 0; side.sent.length === 0; turns++) {
    if (turns > 1000) throw new Error("nothing was answered");
    await systemClock.yield();
  }
}
