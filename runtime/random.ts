/** Randomness as actors see it: a port, so that a simulator can repeat a run from its seed. */
export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
  /** A new ULID: 26 characters, sortable by time of making. */
  ulid(): string;
}
