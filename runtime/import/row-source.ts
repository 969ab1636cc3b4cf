/** What every reader of a file of an import gives: rows, some at a time, as an insert would bring them. */
import type { FieldSchema } from "../schema.ts";

export type ImportRow = Record<string, unknown>;

/** Rows that are in memory as objects at once, at most, beside what a reader needs itself. */
export const BATCH_ROWS = 1024;

export interface RowSource {
  /** @throws VdbError import_failed that says what is wrong, with the row where one can be told */
  batches(): AsyncGenerator<ImportRow[], void, undefined>;
  /** How much of the file has been read, 0 to 1. */
  fraction(): number;
  close(): Promise<void>;
}

/** Fields of the collection by name: they say what text or a list of numbers is to become. */
export type FieldsByName = ReadonlyMap<string, FieldSchema>;
