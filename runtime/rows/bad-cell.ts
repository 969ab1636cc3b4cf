/** Refusals of insert data: each names the row (counted from 0) and the field, in Milvus's words where it has some. */
import { VdbError } from "../errors.ts";

/** Where a cell is: in a column of rows, or among the items of the arrays of a column. */
export interface Place {
  readonly field: string;
  /** Of an array column: row r has the items offsets[r] to offsets[r + 1]. */
  readonly offsets?: Uint32Array;
}

/** The row that cell `index` of a place belongs to. */
export function rowOf(place: Place, index: number): number {
  const { offsets } = place;
  if (offsets === undefined) return index;
  let row = 0;
  while (offsets[row + 1]! <= index) row++;
  return row;
}

/** The row has not the shape of the schema: 1804. */
export function misshapen(row: number, field: string, problem: string): VdbError {
  return new VdbError(
    "invalid_insert_data",
    `fail to deal the insert data, error: row ${row}: field ${field}: ${problem}`,
    {
      details: { row, field },
    },
  );
}

/** The value is of the right type and outside what the field takes: 1100. */
export function outOfBounds(row: number, field: string, problem: string): VdbError {
  return new VdbError("invalid_parameter", `row ${row}: field ${field}: ${problem}`, { details: { row, field } });
}

export function wrongType(place: Place, index: number, expected: string, given: unknown): VdbError {
  return misshapen(rowOf(place, index), place.field, `expected ${expected}, got ${show(given)}`);
}

export function notFinite(place: Place, index: number, given: unknown): VdbError {
  const text = typeof given === "number" && Number.isFinite(given) ? "Inf" : String(given);
  return outOfBounds(rowOf(place, index), place.field, `value '${text}' is not a number or infinity`);
}

/** The message of a bad cell without the words of insert data, for what came in other than as a row. */
export function withoutRow(message: string): string {
  return message.replace(/^.*?row \d+: field [^:]*: /, "").replace(/the \d+th element \((.*?)\)/, "$1");
}

const SHOWN_MAX = 60;

/** A value for people: its kind, and as much of it as fits a line. */
export function show(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (ArrayBuffer.isView(value)) return value.constructor.name;
  if (typeof value === "object") return "an object";
  if (typeof value !== "string") return `${typeof value} ${String(value)}`;
  return `string ${JSON.stringify(shorten(value))}`;
}

export function shorten(text: string): string {
  return text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}…` : text;
}
