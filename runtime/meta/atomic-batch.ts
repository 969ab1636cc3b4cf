/**
 * Publishing an atomic batch (NATS ADR-50): all messages of a stream are stored, in order and without others in between, or
 * none. The npm client's own batch silently drops the expectations of its members (3.4), so a violated transaction would
 * commit: hence this publisher.
 */
import { headers, type MsgHdrs, type NatsConnection, nuid } from "nats";
import { type PublishOutcome, parseAck, publish, requestOutcome, toVdbError } from "./stream-calls.ts";

export const BATCH_ID_HEADER = "Nats-Batch-Id";
const BATCH_SEQUENCE_HEADER = "Nats-Batch-Sequence";
export const BATCH_COMMIT_HEADER = "Nats-Batch-Commit";

/** The server's limit. */
const BATCH_MESSAGES_MAX = 1_000;

export interface BatchMessage {
  subject: string;
  payload: Uint8Array;
  headers: Readonly<Record<string, string>>;
}

/** Stores two or more messages; `seq` of the outcome is the last one's. @throws VdbError unavailable, not_permitted */
export async function publishBatch(nc: NatsConnection, messages: readonly BatchMessage[]): Promise<PublishOutcome> {
  if (messages.length < 2 || messages.length > BATCH_MESSAGES_MAX) {
    throw new Error(`an atomic batch takes 2 to ${BATCH_MESSAGES_MAX} messages, got ${messages.length}`);
  }
  const batchId = nuid.next();
  const lastIndex = messages.length - 1;
  // A connection keeps its order, so nothing waits for the first answer, which still shows a refused start.
  const first = messages[0]!;
  const opened = openBatch(nc, first, batchId);
  for (let i = 1; i < lastIndex; i++) publishMember(nc, messages[i]!, memberHeaders(messages[i]!, batchId, i + 1));
  const last = messages[lastIndex]!;
  const commitHeaders = memberHeaders(last, batchId, lastIndex + 1);
  commitHeaders.set(BATCH_COMMIT_HEADER, "1");
  const [refusal, outcome] = await Promise.all([
    opened,
    publish(nc, { subject: last.subject, payload: last.payload, headers: commitHeaders }),
  ]);
  return outcome.kind !== "stored" && refusal !== null ? refusal : outcome;
}

/** Null when the server took the first message; it answers that with an empty message. */
async function openBatch(nc: NatsConnection, first: BatchMessage, batchId: string): Promise<PublishOutcome | null> {
  const message = { subject: first.subject, payload: first.payload, headers: memberHeaders(first, batchId, 1) };
  return await requestOutcome(nc, message, (answer) => (answer === "" ? null : parseAck(answer)));
}

function publishMember(nc: NatsConnection, message: BatchMessage, messageHeaders: MsgHdrs): void {
  try {
    nc.publish(message.subject, message.payload, { headers: messageHeaders });
  } catch (error) {
    throw toVdbError(error, `publish to ${message.subject}`);
  }
}

function memberHeaders(message: BatchMessage, batchId: string, sequence: number): MsgHdrs {
  const result = headers();
  for (const [name, value] of Object.entries(message.headers)) result.set(name, value);
  result.set(BATCH_ID_HEADER, batchId);
  result.set(BATCH_SEQUENCE_HEADER, String(sequence));
  return result;
}
