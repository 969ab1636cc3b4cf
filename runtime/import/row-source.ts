/** The interface of the readers of import files: rows, some at a time, in the form of an insert. */
import type { FieldSchema } from "../schema.ts";

export type ImportRow = Record<string, unknown>;

/** Most rows that are in memory as objects at once, beside what a reader itself needs. */
export const BATCH_ROWS = 1024;

export interface RowSource {
  /** @throws VdbError import_failed that says what is wrong, with the row if it is known */
  batches(): AsyncGenerator<ImportRow[], void, undefined>;
  /** How much of the file has been read, 0 to 1. */
  fraction(): number;
  close(): Promise<void>;
}

/** Fields of the collection by name: they decide what a text or a list of numbers becomes. */
export type FieldsByName = ReadonlyMap<string, FieldSchema>;
