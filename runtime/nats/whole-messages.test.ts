import { type MsgArg, Parser, type ParserEvent } from "nats";
import { expect, test } from "vitest";
import { isShared, releaseBuffer } from "../shared-buffers.ts";
import { seededNumbers } from "../testing/vectors.ts";
import { createWholeMessages } from "./whole-messages.ts";

const LARGE = 1 << 16;

/** Has the stream arrive in pieces of up to so many bytes. */
function framesOf(stream: Uint8Array, pieceBytes: () => number, use: (frame: Uint8Array) => void): void {
  const messages = createWholeMessages(use);
  for (let at = 0; at < stream.length; ) {
    const target = messages.target();
    const piece = stream.subarray(at, at + Math.min(target.length, pieceBytes()));
    target.set(piece);
    messages.arrived(piece.length);
    at += piece.length;
  }
}

function message(operation: "MSG" | "HMSG", payload: Uint8Array, subject = "_INBOX.a.1"): Buffer {
  const headers = operation === "HMSG" ? "NATS/1.0\r\nNats-Sequence: 7\r\n\r\n" : "";
  const sizes = operation === "HMSG" ? `${headers.length} ${headers.length + payload.length}` : `${payload.length}`;
  return Buffer.concat([Buffer.from(`${operation} ${subject} 3 ${sizes}\r\n${headers}`), payload, Buffer.from("\r\n")]);
}

/** Bytes that look like the protocol's own. */
function payloadOf(bytes: number, next: () => number): Buffer {
  const alphabet = Buffer.from("MSG H\r\n0123456789");
  return Buffer.from(Uint8Array.from({ length: bytes }, () => alphabet[Math.floor(next() * alphabet.length)]!));
}

/** What the npm client makes of it: each event in words, its payload whole. */
function parse(frames: (use: (frame: Uint8Array) => void) => void): { events: string[]; payloads: Uint8Array[] } {
  const events: string[] = [];
  const payloads: Uint8Array[] = [];
  const push = ({ kind, msg, data }: { kind: number; msg?: MsgArg; data?: Uint8Array }): void => {
    events.push(`${kind} ${msg?.sid} ${msg?.size} ${Buffer.from(data ?? []).toString("latin1")}`);
    if (data !== undefined && kind === 2) payloads.push(data);
  };
  const parser = new Parser({ push: (event: ParserEvent) => push(event as Parameters<typeof push>[0]) });
  frames((frame) => parser.parse(frame));
  return { events, payloads };
}

test.each([1, 2, 3, 4, 5, 6, 7, 8])("a stream in pieces of any size comes through as it is (seed %i)", (seed) => {
  const next = seededNumbers(seed);
  const parts: Buffer[] = [Buffer.from(`INFO {"version":"${"x".repeat(seed === 1 ? 100_000 : 300)}"}\r\n`)];
  const sizes: number[] = [];
  for (let i = 0; i < 60; i++) {
    if (next() < 0.2) parts.push(Buffer.from(next() < 0.5 ? "PING\r\n" : "+OK\r\n"));
    const size = [0, 1, Math.floor(next() * 2_000), LARGE - 30, LARGE, LARGE + Math.floor(next() * 200_000)][i % 6]!;
    sizes.push(size);
    parts.push(message(next() < 0.5 ? "MSG" : "HMSG", payloadOf(size, next)));
  }
  const stream = Buffer.concat(parts);
  const largest = [10, 200, 5_000, 70_000, 1_000_000][seed % 5]!;
  const frames: Uint8Array[] = [];
  framesOf(
    stream,
    () => 1 + Math.floor(next() * largest),
    (frame) => frames.push(frame),
  );
  expect(Buffer.compare(Buffer.concat(frames), stream)).toBe(0);
  const found = parse((use) => {
    for (const frame of frames) use(frame);
  });
  expect(found.events).toEqual(parse((use) => use(stream)).events);
  expect(found.payloads).toHaveLength(sizes.length);
  for (const [i, payload] of found.payloads.entries()) {
    if (sizes[i]! >= LARGE) expect(isShared(payload)).toBe(true);
    if (sizes[i]! < LARGE - 30) expect(isShared(payload)).toBe(false);
  }
});

test("a large message lies where the next one goes once it is released, not before", () => {
  const payload = Buffer.alloc(200_000, 1);
  const stream = Buffer.concat([message("MSG", payload), message("MSG", payload), message("MSG", payload)]);
  const { payloads } = parse((use) => framesOf(stream, () => 4_096, use));
  expect(new Set(payloads.map(({ buffer }) => buffer)).size).toBe(3);
  const [first] = payloads;
  releaseBuffer(first!);
  const { payloads: more } = parse((use) => framesOf(message("MSG", payload), () => 4_096, use));
  expect(more[0]!.buffer).toBe(first!.buffer);
});

test("a line without an end does not hold up what is before it, nor grow what is kept", () => {
  const frames: Uint8Array[] = [];
  const stream = Buffer.concat([Buffer.from("PING\r\nMSG "), Buffer.alloc(1_000_000, "x")]);
  framesOf(
    stream,
    () => 1_000,
    (frame) => frames.push(frame),
  );
  expect(Buffer.from(frames[0]!).toString()).toBe("PING\r\n");
  expect(frames.reduce((sum, { length }) => sum + length, 0)).toBeGreaterThan(900_000);
});
