/**
 * The one binary codec: MessagePack by msgpackr, for messages, log entries and meta values alike.
 *
 * `moreTypes` keeps typed arrays as raw bytes of their own type (without it a Float32Array silently comes back as a
 * Buffer); `useRecords: false` makes the output plain MessagePack maps that any client can read; int64 comes back as a
 * number where exact, else as a bigint. Decoded typed arrays own aligned memory; plain byte arrays may be views of the input.
 */
import { type Options, Packr } from "msgpackr";

// msgpackr documents int64AsType "auto"; its typings do not list it.
const options = { moreTypes: true, useRecords: false, int64AsType: "auto" } as unknown as Options;
const packr = new Packr(options);

/** The returned bytes are the caller's own: later calls do not touch them. */
export function encode(value: unknown): Uint8Array {
  return packr.pack(value);
}

export function decode(bytes: Uint8Array): unknown {
  return packr.unpack(bytes);
}
