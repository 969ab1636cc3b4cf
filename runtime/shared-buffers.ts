/**
 * Buffers in shared memory for bytes on their way between the network, the disk and the thread that computes digests: a
 * megabyte that is never copied costs a third of one that is.
 *
 * Owns those that nobody has at the moment, a bounded number: fresh memory is slow, and the garbage collector is slow to
 * see what shared memory costs.
 */
/** Sizes are rounded up to it, so that messages which differ in their headers use each other's. */
const GRAIN_BYTES = 1 << 16;
/** Two transfers' worth. */
const KEPT_BYTES_MAX = 48 << 20;

const kept: SharedArrayBuffer[] = [];
let keptBytes = 0;
const lent = new WeakSet<SharedArrayBuffer>();

/** A buffer of that many bytes, whatever is in them, its caller's alone. One that is not released is collected as garbage. */
export function takeBuffer(bytes: number): Uint8Array {
  const capacity = Math.ceil(bytes / GRAIN_BYTES) * GRAIN_BYTES;
  const index = kept.findLastIndex((buffer) => buffer.byteLength === capacity);
  const buffer = index < 0 ? new SharedArrayBuffer(capacity) : kept.splice(index, 1)[0]!;
  if (index >= 0) keptBytes -= capacity;
  lent.add(buffer);
  return new Uint8Array(buffer, 0, bytes);
}

/** Whether these bytes, a part of a taken buffer perhaps, can be shared with another thread and released. */
export function isShared(bytes: Uint8Array): boolean {
  return bytes.buffer instanceof SharedArrayBuffer && lent.has(bytes.buffer);
}

/** Gives a taken buffer back, by any part of it: nobody may look at it or write to it any more. */
export function releaseBuffer(bytes: Uint8Array): void {
  const { buffer } = bytes;
  if (!(buffer instanceof SharedArrayBuffer && lent.delete(buffer))) return;
  kept.push(buffer);
  keptBytes += buffer.byteLength;
  // Sizes that are not asked for any more go first.
  while (keptBytes > KEPT_BYTES_MAX) keptBytes -= kept.shift()!.byteLength;
}

/** The bytes in memory of their own, for who keeps them for long; a taken buffer that they are in is released. */
export function ownBytes(bytes: Uint8Array): Uint8Array {
  if (!isShared(bytes)) return bytes;
  const own = new Uint8Array(bytes);
  releaseBuffer(bytes);
  return own;
}
