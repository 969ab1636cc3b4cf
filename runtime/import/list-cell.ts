/** A row's list of numbers in a columnar file, in the form in which its field is checked, without a copy if possible. */
import type { FieldSchema } from "../schema.ts";

/** Vectors whose rows are bytes, given as integers, as bulk writers do. */
const BYTE_VECTORS: readonly (FieldSchema["type"] | undefined)[] = ["BinaryVector", "Float16Vector", "BFloat16Vector"];

type Numbers = Exclude<ArrayLike<unknown> & { subarray?: unknown }, string>;

/** Items [start, end) of the values of a column. */
export function listCell(values: Numbers, start: number, end: number, field: FieldSchema | undefined): unknown {
  if (!ArrayBuffer.isView(values)) {
    const items = (values as unknown[]).slice(start, end);
    if (field?.type === "FloatVector" && items.every((item) => typeof item === "number")) {
      return Float32Array.from(items as number[]);
    }
    return BYTE_VECTORS.includes(field?.type) && items.every(isByte) ? Uint8Array.from(items as number[]) : items;
  }
  const part = (values as unknown as Float32Array).subarray(start, end);
  if (field?.type === "FloatVector") {
    return part instanceof Float32Array ? part : Float32Array.from(part as ArrayLike<number>, Number);
  }
  const isInteger = !(values instanceof Float32Array || values instanceof Float64Array);
  if (isInteger && BYTE_VECTORS.includes(field?.type)) return Uint8Array.from(part, Number);
  // An unsigned or signed byte, or a bigint, as a number if that is exact.
  return Array.from(part as ArrayLike<unknown>);
}

function isByte(item: unknown): boolean {
  return typeof item === "number" && Number.isInteger(item) && item >= 0 && item <= 255;
}
