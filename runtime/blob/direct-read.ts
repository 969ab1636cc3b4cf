/**
 * Reading the messages of a subject in bulk by direct get (NATS ADR-31): no consumer, no state on the server, any
 * replica answers, and a lost answer is asked for again from where it stopped.
 *
 * Bounded: the server sends at most two requests' worth ahead of the reader (2 x MESSAGE_BYTES_AHEAD), far below the
 * 64 MB at which it would cut a slow connection off.
 */
import type { Msg, NatsConnection } from "nats";
import { VdbError } from "../errors.ts";
import { toVdbError } from "../meta/stream-calls.ts";
import { newInbox } from "../nats/connect.ts";

export interface DirectMessage {
  subject: string;
  seq: number;
  /** When it was stored, milliseconds since the epoch by the server's clock. */
  storedAt: number;
  /** A view of a buffer of the connection. */
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
/** A request that was answered by nothing for so long is lost: its server or the connection died. */
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
  let page = requestPage(nc, options, 1, count);
  try {
    for (;;) {
      const { messages, nextSeq, isEnd } = await page.received;
      silentTries = messages.length > 0 || isEnd ? 0 : silentTries + 1;
      if (silentTries === SILENT_TRIES_MAX) {
        const waitedMs = SILENT_TRIES_MAX * SILENCE_MS;
        throw new VdbError("unavailable", `no answer to a read of ${stream} within ${waitedMs} ms`);
      }
      // What comes after is on its way while the caller works on this.
      if (!isEnd) page = requestPage(nc, options, nextSeq, count);
      for (const message of messages) {
        if (signal?.aborted) throw new VdbError("canceled", `a read of ${stream} was stopped`);
        yield message;
      }
      if (isEnd) return;
    }
  } catch (error) {
    throw toVdbError(error, `read of ${stream}`);
  } finally {
    page.cancel();
  }
}

interface ReceivedPage {
  messages: DirectMessage[];
  /** Sequence to go on from: that after the last message without a gap before it. */
  nextSeq: number;
  /** Whether the server said that nothing follows. */
  isEnd: boolean;
}

/**
 * Asks for the next messages; `received` resolves when the server has sent them or fallen silent, or when one of them
 * was lost on the way (a connection that was cut comes back with its subscriptions, and misses what was sent meanwhile).
 */
function requestPage(
  nc: NatsConnection,
  options: DirectReadOptions,
  fromSeq: number,
  count: number,
): { received: Promise<ReceivedPage>; cancel: () => void } {
  const { stream, subject, signal } = options;
  const page: ReceivedPage = { messages: [], nextSeq: fromSeq, isEnd: false };
  let cancel = (): void => undefined;
  const received = new Promise<ReceivedPage>((resolve, reject) => {
    let isOver = false;
    const finish = (): void => {
      isOver = true;
      resolve(page);
    };
    const onAbort = (): void => reject(new VdbError("canceled", `a read of ${stream} was stopped`));
    let silence = setTimeout(finish, SILENCE_MS);
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
      const isGap = (status === 0 || status === 204) && lastSeqBefore(message) !== (page.messages.at(-1)?.seq ?? 0);
      if (isGap) {
        finish();
        return;
      }
      if (status === 0) {
        silence = setTimeout(finish, SILENCE_MS);
        const direct = toDirectMessage(message);
        page.messages.push(direct);
        page.nextSeq = direct.seq + 1;
        return;
      }
      // 204: the page is complete. 404: there is nothing, or nothing more.
      page.isEnd = status === 404 || message.headers?.get("Nats-Num-Pending") === "0";
      if (status === 204 || status === 404) finish();
      else reject(new VdbError("unavailable", `a read of ${stream} was refused: ${message.headers?.description}`));
    };
    const subscription = nc.subscribe(inbox, { callback: onMessage });
    cancel = () => {
      clearTimeout(silence);
      subscription.unsubscribe();
      signal?.removeEventListener("abort", onAbort);
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    if (signal?.aborted) onAbort();
    const request = { seq: fromSeq, batch: count, next_by_subj: subject };
    nc.publish(`$JS.API.DIRECT.GET.${stream}`, JSON.stringify(request), { reply: inbox });
  });
  const settled = received.finally(() => cancel());
  // Nobody may be waiting for it any more.
  settled.catch(() => undefined);
  return { received: settled, cancel };
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
