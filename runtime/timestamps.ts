/** Hybrid timestamps: physical milliseconds << 18 | logical, as Milvus has them. Handed out by the coordinator alone. */
const LOGICAL_BITS = 18n;

export function timestampOfMs(ms: number): bigint {
  return BigInt(Math.floor(ms)) << LOGICAL_BITS;
}

export function msOfTimestamp(ts: bigint): number {
  return Number(ts >> LOGICAL_BITS);
}
