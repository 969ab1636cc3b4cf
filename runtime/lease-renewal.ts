/**
 * How long a lease lasts and how often it is renewed. The end of a lease reveals a process that hangs or is cut off;
 * the death of a process is revealed sooner by its connection (meta/nats-presence.ts).
 *
 * A renewal is a write to the disk, and wakes its node, NATS and every coordinator: an idle cluster does little else.
 * So it happens every 2 s, or every 4 s where nobody waits for a role that hangs. A lease that is to outlast an
 * election (LEASE_SECONDS) is renewed every second: a replicated stream takes no writes for up to 9 s while it elects a
 * leader, so nearly the whole life of the lease must be left when that begins.
 */
import type { Role } from "./actor.ts";

const URGENT_MS = 2_000;
const OTHER_MS = 4_000;
const ELECTION_MS = 1_000;
const ELECTION_SECONDS = 10;
/** So much longer is a lease that nobody waits for. */
const LONGER_SECONDS = 6;

export interface LeaseTerms {
  ttlSeconds: number;
  renewMs: number;
}

/** Of a lease that somebody waits for when its holder hangs. */
export function urgentTerms(leaseSeconds: number): LeaseTerms {
  const everyMs = leaseSeconds < ELECTION_SECONDS ? URGENT_MS : ELECTION_MS;
  return { ttlSeconds: leaseSeconds, renewMs: Math.min(everyMs, (leaseSeconds * 1_000) / 2) };
}

/** Of a role's lease: rows are written and read through streaming and query nodes. */
export function roleTerms(role: Role, leaseSeconds: number): LeaseTerms {
  if (role === "streaming" || role === "query") return urgentTerms(leaseSeconds);
  return { ttlSeconds: leaseSeconds + LONGER_SECONDS, renewMs: OTHER_MS };
}

/**
 * How long to wait for the next renewal. They come at multiples of their interval, by the process's clock, so that those of
 * one process come together: one wake-up for all. One that took nearly as long as that is followed a whole one later.
 */
export function untilNextRenewal(renewMs: number, monotonicMs: number): number {
  const leftMs = renewMs - (monotonicMs % renewMs);
  return leftMs < renewMs / 10 ? leftMs + renewMs : leftMs;
}
