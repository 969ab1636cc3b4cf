/**
 * Reading the messages of a subject in bulk by direct get (NATS ADR-31): no consumer, no state on the server, any
 * replica answers, and a lost answer is asked for again from where it stopped.
 *
 * Bounded: the server sends at most two requests' worth ahead of the reader (2 x MESSAGE_BYTES_AHEAD), far below the
 * 64 MB at which it would cut a slow connection off: the next page is asked for when one has come in full and those before
 * it are taken.
 */
import type { Msg, NatsConnection } from "nats";
import { VdbError } from "../errors.ts";
import { toVdbError } from "../meta/stream-calls.ts";
import { newInbox } from "../nats/connect.ts";
import { releaseBuffer } from "../shared-buffers.ts";

export interface DirectMessage {
  subject: string;
  seq: number;
  /** When it was stored, milliseconds since the epoch by the server's clock. */
  storedAt: number;
  /** A view of a buffer of the connection, maybe one to release (runtime/shared-buffers.ts). */
  payload: Uint8Array;
}

export interface DirectReadOptions {
  stream: string;
  /** May hold wildcards. */
  subject: string;
  /** Size of a typical message: decides how many are asked for at once. */
  messageBytes: number;
  signal?: AbortSignal | undefined;
}

/** Two of these keep a connection busy while the reader hashes and writes what came before. */
const MESSAGE_BYTES_AHEAD = 8 << 20;
/** The server's own limit of messages a request is 1024. */
const MESSAGES_PER_REQUEST_MAX = 1_000;
/** A request without any answer for this long is lost: its server or the connection died. */
const SILENCE_MS = 3_000;
/** 5 x 3 s: longer than the election of a leader. */
const SILENT_TRIES_MAX = 5;

/**
 * All messages of the subject in order of sequence.
 * @throws VdbError unavailable when the server falls silent; canceled
 */
export async function* readDirect(
  nc: NatsConnection,
  options: DirectReadOptions,
): AsyncGenerator<DirectMessage, void, undefined> {
  const { stream, signal } = options;
  const count = Math.min(MESSAGES_PER_REQUEST_MAX, Math.ceil(MESSAGE_BYTES_AHEAD / options.messageBytes));
  let silentTries = 0;
  let isOver = false;
  /** The one that messages are taken from, and the one after it. */
  const pages = [requestPage(nc, options, 1, count)];
  const requestNext = ({ nextSeq, isEnd }: PageEnd): void => {
    if (!isEnd && !isOver) pages.push(requestPage(nc, options, nextSeq, count));
  };
  try {
    for (;;) {
      const page = pages[0]!;
      page.end.then(requestNext, () => undefined);
      for (let message = await page.next(); message !== null; message = await page.next()) {
        if (signal?.aborted) throw new VdbError("canceled", `a read of ${stream} was stopped`);
        yield message;
      }
      const { received, isEnd } = await page.end;
      if (isEnd) return;
      silentTries = received > 0 ? 0 : silentTries + 1;
      if (silentTries === SILENT_TRIES_MAX) {
        const waitedMs = SILENT_TRIES_MAX * SILENCE_MS;
        throw new VdbError("unavailable", `no answer to a read of ${stream} within ${waitedMs} ms`);
      }
      pages.shift();
    }
  } catch (error) {
    throw toVdbError(error, `read of ${stream}`);
  } finally {
    isOver = true;
    for (const page of pages) page.discard();
  }
}

interface Page {
  /** The next message as soon as it is there; null after the last one. @throws as `end` */
  next(): Promise<DirectMessage | null>;
  /** Resolves when all of it is there, whether it was taken or not. */
  end: Promise<PageEnd>;
  /** Stops it; what has come and was not taken is let go. */
  discard(): void;
}

interface PageEnd {
  /** Messages. */
  received: number;
  /** Sequence to go on from: that after the last message without a gap before it. */
  nextSeq: number;
  /** Whether the server said that nothing follows. */
  isEnd: boolean;
}

/**
 * Asks for the next messages. The page ends when the server has sent them or fallen silent, or when one of them was lost
 * on the way (a connection that was cut comes back with its subscriptions, and misses what was sent meanwhile).
 */
function requestPage(nc: NatsConnection, options: DirectReadOptions, fromSeq: number, count: number): Page {
  const { stream, subject, signal } = options;
  const ready: DirectMessage[] = [];
  let wake = (): void => undefined;
  let isOver = false;
  let cancel = (): void => undefined;
  const end = new Promise<PageEnd>((resolve, reject) => {
    let received = 0;
    let lastSeq = 0;
    const finish = (isEnd: boolean): void => resolve({ received, nextSeq: Math.max(fromSeq, lastSeq + 1), isEnd });
    const onAbort = (): void => reject(new VdbError("canceled", `a read of ${stream} was stopped`));
    const onSilence = (): void => finish(false);
    let silence = setTimeout(onSilence, SILENCE_MS);
    const inbox = newInbox(nc);
    const onMessage = (error: Error | null | undefined, message: Msg): void => {
      if (error instanceof Error) {
        reject(error);
        return;
      }
      if (isOver) return;
      const status = message.headers?.code ?? 0;
      // No server has the stream at the moment: the silence timer ends the page.
      if (status === 503) return;
      clearTimeout(silence);
      // Each answer names the one before it, the first one none.
      if ((status === 0 || status === 204) && lastSeqBefore(message) !== lastSeq) {
        isOver = true;
        finish(false);
        return;
      }
      if (status === 0) {
        silence = setTimeout(onSilence, SILENCE_MS);
        const direct = toDirectMessage(message);
        received++;
        lastSeq = direct.seq;
        ready.push(direct);
        wake();
        return;
      }
      // 204: the page is complete. 404: there is nothing, or nothing more.
      const isEnd = status === 404 || message.headers?.get("Nats-Num-Pending") === "0";
      if (status === 204 || status === 404) finish(isEnd);
      else reject(new VdbError("unavailable", `a read of ${stream} was refused: ${message.headers?.description}`));
    };
    const subscription = nc.subscribe(inbox, { callback: onMessage });
    cancel = () => {
      isOver = true;
      clearTimeout(silence);
      subscription.unsubscribe();
      signal?.removeEventListener("abort", onAbort);
      wake();
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    if (signal?.aborted) onAbort();
    const request = { seq: fromSeq, batch: count, next_by_subj: subject };
    nc.publish(`$JS.API.DIRECT.GET.${stream}`, JSON.stringify(request), { reply: inbox });
  });
  const settled = end.finally(() => cancel());
  // Nobody may be waiting for it any more.
  settled.catch(() => undefined);
  const next = async (): Promise<DirectMessage | null> => {
    if (ready.length === 0 && !isOver) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    const message = ready.shift();
    if (message === undefined) await settled;
    return message ?? null;
  };
  const discard = (): void => {
    cancel();
    for (const { payload } of ready.splice(0)) releaseBuffer(payload);
  };
  return { next, end: settled, discard };
}

function lastSeqBefore(message: Msg): number {
  return Number(message.headers!.get("Nats-Last-Sequence"));
}

function toDirectMessage(message: Msg): DirectMessage {
  const headers = message.headers!;
  return {
    subject: headers.get("Nats-Subject"),
    seq: Number(headers.get("Nats-Sequence")),
    storedAt: Date.parse(headers.get("Nats-Time-Stamp")),
    payload: message.data,
  };
}
