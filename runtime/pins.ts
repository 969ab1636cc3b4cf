/**
 * Pins: while one is held, the garbage collector removes nothing. It is held by whoever copies objects, or writes
 * objects that are named only later.
 *
 * A pin is a lease in one of a few slots, with an id of its own. Its holder never takes it a second time: once lost it
 * stays lost, so a pin that is there now has been there since it was taken, and whatever was judged to be garbage
 * meanwhile was not removed. The collector asks the lease store's leader, after it has judged and before it removes.
 */
import type { Clock } from "./clock.ts";
import { asVdbError, VdbError } from "./errors.ts";
import type { LeasePort } from "./meta/port.ts";
import { decode, encode } from "./protocol/codec.ts";
import type { Random } from "./random.ts";

/** Backups and restores at once. */
const SLOTS = 8;

/** Long enough for an election of a replicated store and for a machine that stalls; garbage waits so long for who died. */
const TTL_SECONDS = 30;

export interface PinRef {
  slot: number;
  id: string;
}

export interface Pin extends AsyncDisposable {
  readonly ref: PinRef;
  /** Aborted when it is lost. */
  readonly lost: AbortSignal;
}

interface PinValue {
  id: string;
  holder: string;
}

interface PinPorts {
  leases: LeasePort;
  clock: Clock;
  random: Random;
}

/** @param holder for people: who keeps garbage from being collected. @throws VdbError overloaded when every slot is taken; unavailable */
export async function takePin(ports: PinPorts, holder: string): Promise<Pin> {
  const value: PinValue = { id: ports.random.ulid(), holder };
  const bytes = encode(value);
  for (let slot = 0; slot < SLOTS; slot++) {
    const takenAt = ports.clock.monotonic();
    const revision = await ports.leases.acquire(pinKey(slot), bytes, TTL_SECONDS);
    if (revision !== null) return keep(ports, { ref: { slot, id: value.id }, bytes, revision, takenAt });
  }
  const holders = (await pinHolders(ports.leases)).join(", ");
  throw new VdbError("overloaded", `${SLOTS} backups and restores are running, no more can: ${holders}`);
}

/** Whether the pin has been held since it was taken, by the lease store's leader. @throws VdbError unavailable */
export async function isHeld(leases: LeasePort, { slot, id }: PinRef): Promise<boolean> {
  return (await read(leases, slot))?.id === id;
}

/** Who holds pins now, by the lease store's leader. @throws VdbError unavailable */
export async function pinHolders(leases: LeasePort): Promise<string[]> {
  const pins = await Promise.all(Array.from({ length: SLOTS }, (_, slot) => read(leases, slot)));
  return pins.flatMap((pin) => (pin === null ? [] : [pin.holder]));
}

function keep(
  { leases, clock }: PinPorts,
  pin: { ref: PinRef; bytes: Uint8Array; revision: number; takenAt: number },
): Pin {
  const key = pinKey(pin.ref.slot);
  const lost = new AbortController();
  const released = new AbortController();
  let { revision } = pin;
  const renewing = (async () => {
    let validUntil = pin.takenAt + TTL_SECONDS * 1000;
    while (!released.signal.aborted && !lost.signal.aborted) {
      await clock.sleep((TTL_SECONDS * 1000) / 5, released.signal).catch(() => undefined);
      if (released.signal.aborted) return;
      const sentAt = clock.monotonic();
      try {
        const renewed = await leases.renew(key, pin.bytes, TTL_SECONDS, revision);
        if (renewed === null) return lost.abort();
        revision = renewed;
        validUntil = sentAt + TTL_SECONDS * 1000;
      } catch (error) {
        // Not known to be lost until its time is over.
        if (asVdbError(error).kind !== "unavailable" || clock.monotonic() >= validUntil) lost.abort();
      }
    }
  })();
  return {
    ref: pin.ref,
    lost: lost.signal,
    async [Symbol.asyncDispose]() {
      released.abort();
      await renewing;
      // What cannot be given back expires.
      await leases.release(key, revision).catch(() => false);
    },
  };
}

async function read(leases: LeasePort, slot: number): Promise<PinValue | null> {
  const entry = await leases.get(pinKey(slot));
  return entry === null ? null : (decode(entry.value) as PinValue);
}

function pinKey(slot: number): string {
  return `pin.${slot}`;
}
