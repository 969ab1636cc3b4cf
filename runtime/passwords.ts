/**
 * Passwords as they are stored: `scrypt$<N>$<r>$<p>$<salt>$<hash>`, base64. Each has its own salt, and names the cost
 * it was made with, so that a later version may raise that.
 */
import { randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from "node:crypto";

/** 16 MiB of memory and some 50 ms of a core, off the event loop. */
const COST = { N: 16_384, r: 8, p: 1 } as const;

/** 64 MiB, in blocks of 128 bytes. Beyond it a stored text, which may have been restored, could ask for any amount. */
const BLOCKS_MAX = 1 << 19;

const SALT_BYTES = 16;
const HASH_BYTES = 32;

export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const hash = await derive(password, salt, HASH_BYTES, COST);
  return ["scrypt", COST.N, COST.r, COST.p, salt.toString("base64"), hash.toString("base64")].join("$");
}

/** Whether it is the one. Takes as long for a wrong one; false also for a text that no version has written. */
export async function verifyPassword(password: string, stored: string): Promise<boolean> {
  const parsed = parse(stored);
  if (parsed === undefined) return false;
  const { salt, hash, cost } = parsed;
  return timingSafeEqual(await derive(password, salt, hash.length, cost), hash);
}

export function isStoredPassword(text: string): boolean {
  return parse(text) !== undefined;
}

function parse(stored: string): { salt: Buffer; hash: Buffer; cost: { N: number; r: number; p: number } } | undefined {
  const [name, N, r, p, salt, hash, ...more] = stored.split("$");
  if (name !== "scrypt" || salt === undefined || hash === undefined || more.length > 0) return undefined;
  const cost = { N: Number(N), r: Number(r), p: Number(p) };
  const isSane =
    isCount(cost.N, BLOCKS_MAX) &&
    cost.N >= 2 &&
    Number.isInteger(Math.log2(cost.N)) &&
    isCount(cost.r, 32) &&
    isCount(cost.p, 4) &&
    cost.N * cost.r <= BLOCKS_MAX;
  const bytes = Buffer.from(hash, "base64");
  if (!isSane || bytes.length < 16 || bytes.length > 64) return undefined;
  return { salt: Buffer.from(salt, "base64"), hash: bytes, cost };
}

function isCount(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= max;
}

function derive(password: string, salt: Buffer, bytes: number, cost: ScryptOptions): Promise<Buffer> {
  const maxmem = 256 * Number(cost.N) * Number(cost.r);
  return new Promise((resolve, reject) => {
    scrypt(password, salt, bytes, { ...cost, maxmem }, (error, key) => (error === null ? resolve(key) : reject(error)));
  });
}
