/**
 * How often a lease is renewed. Each second, so that nearly its whole life is left when the store begins to fail: a
 * replicated stream takes no writes for up to 9 s while it elects a leader, and leases on it last 10 (LEASE_SECONDS).
 */
export function renewEveryMs(ttlSeconds: number): number {
  return Math.min(1_000, (ttlSeconds * 1_000) / 3);
}
