/** Random numbers that a seed repeats (sfc32). */
export interface Seeded {
  /** Uniform in [0, 1). */
  next(): number;
  /** A whole number in [0, below). */
  int(below: number): number;
  chance(probability: number): boolean;
  pick<T>(list: readonly T[]): T;
  /** Between the two, evenly over the orders of magnitude. */
  logUniform(from: number, to: number): number;
  /** A generator of its own: what is drawn from one does not move the other. */
  fork(name: string): Seeded;
}

export function seeded(seed: number, name = ""): Seeded {
  let [a, b, c, d] = [0x9e3779b9 ^ seed, 0x243f6a88 ^ Math.floor(seed / 2 ** 32), hash(name), 1];
  const next = (): number => {
    const t = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + t;
    return (t >>> 0) / 4294967296;
  };
  for (let i = 0; i < 12; i++) next();
  const generator: Seeded = {
    next,
    int: (below) => Math.floor(next() * below),
    chance: (probability) => next() < probability,
    pick: (list) => list[Math.floor(next() * list.length)]!,
    logUniform: (from, to) => from * (to / from) ** next(),
    fork: (child) => seeded(seed, `${name}/${child}`),
  };
  return generator;
}

/** FNV-1a. */
export function hash(text: string, from = 0x811c9dc5): number {
  let value = from;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  return value >>> 0;
}
