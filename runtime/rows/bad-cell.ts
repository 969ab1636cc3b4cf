/** Refusals of insert data: each names the row (counted from 0) and the field, in Milvus's words where it has some. */
import { VdbError } from "../errors.ts";

/** Where a cell is: in a column of rows, or among the items of the arrays of a column. */
export interface Place {
  readonly field: string;
  /** Of an array column: row r has the items offsets[r] to offsets[r + 1]. */
  readonly offsets?: Uint32Array;
  /** For a column of only those rows that have a value: the row of a cell. */
  readonly rowAt?: ((cell: number) => number) | undefined;
}

/** The row that cell `index` of a place belongs to. */
export function rowOf({ offsets, rowAt = (cell) => cell }: Place, index: number): number {
  if (offsets === undefined) return rowAt(index);
  let cell = 0;
  while (offsets[cell + 1]! <= index) cell++;
  return rowAt(cell);
}

/** The row does not have the shape of the schema: 1804. */
export function misshapen(place: Place, index: number, problem: string): VdbError {
  const { field } = place;
  const row = rowOf(place, index);
  return new VdbError(
    "invalid_insert_data",
    `fail to deal the insert data, error: row ${row}: field ${field}: ${problem}`,
    {
      details: { row, field },
    },
  );
}

/** The value has the right type but is outside the field's bounds: 1100. */
export function outOfBounds(place: Place, index: number, problem: string): VdbError {
  const { field } = place;
  const row = rowOf(place, index);
  return new VdbError("invalid_parameter", `row ${row}: field ${field}: ${problem}`, { details: { row, field } });
}

export function wrongType(place: Place, index: number, expected: string, given: unknown): VdbError {
  return misshapen(place, index, `expected ${expected}, got ${show(given)}`);
}

export function notFinite(place: Place, index: number, given: unknown): VdbError {
  const text = typeof given === "number" && Number.isFinite(given) ? "Inf" : String(given);
  return outOfBounds(place, index, `value '${text}' is not a number or infinity`);
}

export function tooLongText(place: Place, index: number, length: number, maxLength: number): VdbError {
  const problem = `row number: ${rowOf(place, index)}, length: ${length}, max length: ${maxLength}`;
  return outOfBounds(place, index, `length of varchar field ${place.field} exceeds max length, ${problem}`);
}

/** common.JSONMaxLength of Milvus: bytes of one JSON value, and of one row's dynamic keys. */
export const JSON_BYTES_MAX = 65_536;

export function tooLongJson(place: Place, index: number, length: number): VdbError {
  const problem = `the length (${length}) of json field (${place.field}) exceeds max length (${JSON_BYTES_MAX})`;
  return outOfBounds(place, index, problem);
}

export function tooManyItems(place: Place, index: number, length: number, capacity: number): VdbError {
  const problem = `the length (${length}) of ${rowOf(place, index)}th array exceeds max capacity (${capacity})`;
  return outOfBounds(place, index, `array length exceeds max capacity: ${problem}`);
}

export function outOfRange(
  place: Place,
  index: number,
  given: string,
  { min, max }: { min: number | bigint; max: number | bigint },
): VdbError {
  return outOfBounds(place, index, `the ${rowOf(place, index)}th element (${given}) out of range: [${min}, ${max}]`);
}

export function wrongTime(place: Place, index: number, given: unknown): VdbError {
  return outOfBounds(
    place,
    index,
    `got invalid timestamptz string: ${shorten(String(given))}: expected ISO 8601 text of the years 1 to 9999`,
  );
}

/** The message of a bad cell without the words about insert data, for values that did not come in a row. */
export function withoutRow(message: string): string {
  return message.replace(/^.*?row \d+: field [^:]*: /, "").replace(/the \d+th element \((.*?)\)/, "$1");
}

const SHOWN_MAX = 60;

/** A value for messages: its kind, and as much of it as fits a line. */
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
