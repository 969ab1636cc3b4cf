/**
 * Compare-and-set commits to a stream of keyed messages: one write, or several with guards in one atomic batch, with a reliable
 * answer.
 *
 * Invariants
 *   C1. Every message carries an expectation or rides in a batch whose other members do: nothing is put blindly.
 *   C2. All attempts of a commit carry one id (header Vdb-Commit) and the same expectations, so at most one lands; who
 *       landed is read off the stream's leader by that id.
 *   C3. "Conflict" is said only when an expectation is known not to hold and the commit is known not to be in.
 *
 * A server also refuses without a conflict (R3 refuses while another change of the subject is under way; a deleted key still
 * has a sequence), and after a timeout the outcome is unknown. So everything but a plain success is examined: the newest
 * message of each key tells whether the commit is in, an expectation is stale, or a retry is due.
 */
import type { StoredMsg } from "@nats-io/jetstream";
import { headers, type NatsConnection, nuid } from "nats";
import type { Clock } from "../clock.ts";
import { errorMessage, VdbError } from "../errors.ts";
import type { Random } from "../random.ts";
import { type BatchMessage, publishBatch } from "./atomic-batch.ts";
import { isLive } from "./kv-names.ts";
import {
  backoffMs,
  isTransientRefusal,
  JS_CODE,
  type PublishOutcome,
  publish,
  type StreamCalls,
} from "./stream-calls.ts";

export interface Write {
  subject: string;
  payload: Uint8Array;
  headers: Readonly<Record<string, string>>;
  /** Sequence of the newest message of the subject; 0: there is none, or it is a tombstone. */
  revision: number;
}

/** Makes a commit depend on a subject that it does not write. */
export interface Guard {
  subject: string;
  revision: number;
}

export interface CommitOptions {
  calls: StreamCalls;
  clock: Clock;
  random: Random;
  /** Subject that ends every batch: carries the first guard, and tells watchers of any filter that the batch is whole. */
  markerSubject: string;
  /** What to do when later changes have pushed the evidence out of the stream: report "conflict" where that means the same, else an error. */
  whenEvidenceIsGone: "conflict" | "unavailable";
}

const EXPECTED_HEADER = "Nats-Expected-Last-Subject-Sequence";
const EXPECTED_SUBJECT_HEADER = "Nats-Expected-Last-Subject-Sequence-Subject";
const COMMIT_ID_HEADER = "Vdb-Commit";

/** Longer than an R3 election (4-9 s), so that an election does not fail a commit. */
const COMMIT_TIMEOUT_MS = 12_000;

/** Both change when a key that must not exist turns out to have a tombstone: then the tombstone's sequence is expected. */
interface Attempt {
  id: string;
  writes: Write[];
  guards: Guard[];
  /** Parallel to writes, then guards. */
  expected: number[];
  deadlineMs: number;
}

type Finding = { kind: "applied"; seq: number } | { kind: "stale" } | { kind: "moved" } | { kind: "as expected" };

/**
 * Commits all writes or none, provided that all revisions hold.
 * @returns sequence of the last write; null when an expectation does not hold
 * @throws VdbError unavailable when it stays unknown; not_permitted; internal when the server refuses it as such
 */
export async function commitWrites(
  nc: NatsConnection,
  options: CommitOptions,
  change: { writes: Write[]; guards: Guard[] },
): Promise<number | null> {
  const { calls, clock, random } = options;
  const attempt: Attempt = {
    ...change,
    id: nuid.next(),
    expected: [...change.writes, ...change.guards].map((item) => item.revision),
    deadlineMs: clock.monotonic() + COMMIT_TIMEOUT_MS,
  };
  let mayHaveLanded = false;
  for (let tries = 0; ; tries++) {
    const outcome = await publishAttempt(nc, attempt, options.markerSubject);
    if (outcome.kind === "stored") return lastWriteSequence(attempt, outcome.seq);
    if (outcome.kind === "unknown") mayHaveLanded = true;
    else throwIfFinal(outcome, calls.stream);
    const finding = await examine(attempt, calls);
    if (finding.kind === "applied") return finding.seq;
    if (finding.kind === "stale") return mayHaveLanded ? await searchEvidence(attempt, options) : null;
    if (clock.monotonic() >= attempt.deadlineMs) throw gaveUp(calls.stream, outcome, mayHaveLanded);
    if (finding.kind === "as expected") await clock.sleep(backoffMs(tries, random));
  }
}

function publishAttempt(nc: NatsConnection, attempt: Attempt, markerSubject: string): Promise<PublishOutcome> {
  const { id, writes, guards, expected } = attempt;
  const messages: BatchMessage[] = writes.map((write, i) => ({
    subject: write.subject,
    payload: write.payload,
    headers: { ...write.headers, [COMMIT_ID_HEADER]: id, [EXPECTED_HEADER]: String(expected[i]) },
  }));
  if (messages.length === 1 && guards.length === 0) return publishOne(nc, messages[0]!);
  // A message carries one expectation, so a guard needs a message of its own. The marker itself comes last.
  for (let i = guards.length - 1; i >= 1; i--) messages.push(guardMessage(attempt, i, `${markerSubject}.${i}`));
  messages.push(guards.length > 0 ? guardMessage(attempt, 0, markerSubject) : markerMessage(id, markerSubject, {}));
  return publishBatch(nc, messages);
}

function publishOne(nc: NatsConnection, message: BatchMessage): Promise<PublishOutcome> {
  const messageHeaders = headers();
  for (const [name, value] of Object.entries(message.headers)) messageHeaders.set(name, value);
  return publish(nc, { subject: message.subject, payload: message.payload, headers: messageHeaders });
}

function guardMessage(attempt: Attempt, index: number, subject: string): BatchMessage {
  return markerMessage(attempt.id, subject, {
    [EXPECTED_HEADER]: String(attempt.expected[attempt.writes.length + index]),
    [EXPECTED_SUBJECT_HEADER]: attempt.guards[index]!.subject,
  });
}

function markerMessage(id: string, subject: string, expectation: Record<string, string>): BatchMessage {
  return { subject, payload: new TextEncoder().encode(id), headers: { ...expectation, [COMMIT_ID_HEADER]: id } };
}

/** Members of a batch have consecutive sequences; after the writes come the markers. */
function lastWriteSequence(attempt: Attempt, storedSeq: number): number {
  const isSingle = attempt.writes.length === 1 && attempt.guards.length === 0;
  return isSingle ? storedSeq : storedSeq - Math.max(1, attempt.guards.length);
}

function throwIfFinal(outcome: PublishOutcome & { kind: "refused" }, stream: string): void {
  const isExpectation = outcome.code === JS_CODE.wrongLastSequence || outcome.code === JS_CODE.wrongLastSequenceUnknown;
  if (isExpectation || isTransientRefusal(outcome)) return;
  throw new VdbError(
    "internal",
    `${stream} refused a commit: ${outcome.description} (JetStream error ${outcome.code})`,
  );
}

/** Reads the newest message of every subject involved. Moves expectations of absent keys to their tombstones. */
async function examine(attempt: Attempt, calls: StreamCalls): Promise<Finding> {
  const { id, writes, guards, expected, deadlineMs } = attempt;
  const items = [...writes, ...guards];
  const heads = await Promise.all(items.map((item) => calls.last(item.subject, deadlineMs)));
  for (let i = 0; i < writes.length; i++) {
    const head = heads[i]!;
    if (commitId(head) === id) return { kind: "applied", seq: head!.seq + (writes.length - 1 - i) };
  }
  let isMoved = false;
  for (let i = 0; i < items.length; i++) {
    const head = heads[i] ?? null;
    const seq = head?.seq ?? 0;
    if (seq === expected[i]) continue;
    // Revisions only grow: an older newest message is the answer of a leader that does not know yet that it is deposed.
    if (head !== null && seq < expected[i]!) continue;
    if (items[i]!.revision !== 0 || isLive(head)) return { kind: "stale" };
    expected[i] = seq;
    isMoved = true;
  }
  return { kind: isMoved ? "moved" : "as expected" };
}

/**
 * An expectation is stale after an attempt of unknown outcome: either it landed and was overwritten since, or it never
 * can. If it landed, it is the first message of its subject after the expected one.
 */
async function searchEvidence(attempt: Attempt, options: CommitOptions): Promise<number | null> {
  const { calls } = options;
  const { subject } = attempt.writes[0]!;
  const expected = attempt.expected[0]!;
  const successor = await calls.next(subject, expected + 1, attempt.deadlineMs);
  if (successor === null || successor.header.get(EXPECTED_HEADER) === String(expected)) {
    return commitId(successor) === attempt.id ? successor!.seq + (attempt.writes.length - 1) : null;
  }
  if (options.whenEvidenceIsGone === "conflict") return null;
  const message = `the outcome of a commit to ${calls.stream} is unknown: later changes have replaced it; read and decide again`;
  throw new VdbError("unavailable", message);
}

function commitId(message: StoredMsg | null): string | null {
  return message?.header.get(COMMIT_ID_HEADER) || null;
}

function gaveUp(stream: string, outcome: PublishOutcome, mayHaveLanded: boolean): VdbError {
  const cause = outcome.kind === "unknown" ? outcome.cause : undefined;
  const why = outcome.kind === "refused" ? outcome.description : errorMessage(cause);
  const fate = mayHaveLanded ? "its outcome is unknown" : "it is not applied";
  const message = `a commit to ${stream} found no answer within ${COMMIT_TIMEOUT_MS} ms (${why}): ${fate}`;
  return new VdbError("unavailable", message, { cause });
}
