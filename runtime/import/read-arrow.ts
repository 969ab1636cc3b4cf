/**
 * Rows of Apache Arrow IPC, of the file format and of the stream format alike, a record batch at a time. Lists of numbers
 * are views of their batch's buffers.
 */
import { open } from "node:fs/promises";
import { errorMessage, isVdbError } from "../errors.ts";
import type { FieldSchema } from "../schema.ts";
import {
  type Data,
  DataType,
  FixedSizeList,
  List,
  type RecordBatch,
  RecordBatchReader,
  type Timestamp,
  TimeUnit,
  Vector,
} from "../segment/arrow.ts";
import { listCell } from "./list-cell.ts";
import { importFailed } from "./names.ts";
import { BATCH_ROWS, type FieldsByName, type ImportRow, type RowSource } from "./row-source.ts";

/** @throws VdbError import_failed when it is no Arrow file */
export async function readArrow(path: string, fields: FieldsByName): Promise<RowSource> {
  const file = await open(path);
  const { size } = await file.stat();
  let read = 0;
  return {
    fraction: () => (size === 0 ? 1 : Math.min(1, read / size)),
    close: async () => {
      // The reader may have closed it at its end.
      await file.close().catch(() => undefined);
    },
    async *batches() {
      let count = 0;
      try {
        const reader = await RecordBatchReader.from(file);
        await reader.open();
        for await (const batch of reader as AsyncIterable<RecordBatch>) {
          for (let start = 0; start < batch.numRows; start += BATCH_ROWS) {
            const rows = rowsOf(batch, start, Math.min(batch.numRows, start + BATCH_ROWS), fields);
            count += rows.length;
            yield rows;
          }
          read += batch.data.byteLength;
        }
        read = size;
      } catch (error) {
        if (isVdbError(error)) throw error;
        const where = count === 0 ? "is not a readable Arrow IPC file" : `row ${count}`;
        throw importFailed(`${where}: ${errorMessage(error)}`, error);
      }
    },
  };
}

function rowsOf(batch: RecordBatch, start: number, end: number, fields: FieldsByName): ImportRow[] {
  const rows = Array.from({ length: end - start }, (): ImportRow => ({}));
  batch.schema.fields.forEach(({ name }, column) => {
    const cell = cellReader(batch.data.children[column]!, fields.get(name));
    for (let row = start; row < end; row++) rows[row - start]![name] = cell(row);
  });
  return rows;
}

/** Gives a cell by its row. */
function cellReader(data: Data, field: FieldSchema | undefined): (row: number) => unknown {
  const vector = new Vector([data]);
  const { type } = data;
  const isWhole = data.nullCount === 0;
  if (isWhole && isPlain(data)) {
    const values = data.values as ArrayLike<unknown>;
    return (row) => values[row];
  }
  if (type instanceof FixedSizeList || type instanceof List) {
    const items = data.children[0]!;
    if (items.nullCount === 0 && isPlain(items)) {
      const { values } = items;
      const range = rangeOf(data);
      return (row) => {
        if (!isWhole && !vector.isValid(row)) return null;
        const [from, to] = range(row);
        return listCell(values, from, to, field);
      };
    }
    return (row) => {
      const list = vector.get(row) as Iterable<unknown> | null;
      return list === null ? null : Array.from(list);
    };
  }
  if (DataType.isTimestamp(type)) return (row) => micros(data, type, vector.isValid(row) ? row : null);
  return (row) => vector.get(row) as unknown;
}

/** Numbers that are in memory as they are: half floats are integers there. */
function isPlain({ type, values }: Data): boolean {
  return DataType.isInt(type) || (DataType.isFloat(type) && !(values instanceof Uint16Array));
}

function rangeOf(data: Data): (row: number) => [number, number] {
  if (data.type instanceof FixedSizeList) {
    const { listSize } = data.type;
    return (row) => [row * listSize, (row + 1) * listSize];
  }
  const offsets = data.valueOffsets as Int32Array;
  return (row) => [offsets[row]!, offsets[row + 1]!];
}

/** Whole microseconds, as everywhere. */
function micros(data: Data, { unit }: Timestamp, row: number | null): bigint | null {
  if (row === null) return null;
  const value = (data.values as BigInt64Array)[row]!;
  switch (unit) {
    case TimeUnit.SECOND:
      return value * 1_000_000n;
    case TimeUnit.MILLISECOND:
      return value * 1000n;
    case TimeUnit.NANOSECOND:
      return value / 1000n;
    default:
      return value;
  }
}
