/**
 * The records of a CSV file as the bytes of their cells (RFC 4180): a cell in quotes may hold separators, ends of lines and
 * doubled quotes. Records end with LF, with or without CR before it; with CR alone where the first one does. Empty lines are left out.
 *
 * Two passes over a record: the first finds its end, where the number of quotes before is even; the second cuts its cells.
 */
import { Rest } from "./read-json.ts";

const QUOTE = 0x22;
const LF = 0x0a;
const CR = 0x0d;

/** @throws VdbError import_failed for a record that is too long, Error for quotes where none can be */
export async function* splitCsv(
  chunks: AsyncIterable<Buffer>,
  separator: string,
): AsyncGenerator<Buffer[], void, undefined> {
  const rest = new Rest();
  const between = Buffer.from(separator);
  let isQuoted = false;
  /** LF or CR; 0 until the first record has ended. */
  let ending = 0;
  /** A CR at the end of a chunk, which may be the first ending, or half of it. */
  let held: Buffer | undefined;
  for await (const next of chunks) {
    const chunk = held === undefined ? next : Buffer.concat([held, next]);
    held = undefined;
    let start = 0;
    for (let at = 0; at < chunk.length; at++) {
      if (isQuoted) {
        at = chunk.indexOf(QUOTE, at);
        if (at < 0) break;
        isQuoted = false;
        continue;
      }
      const byte = chunk[at]!;
      if (byte === QUOTE) isQuoted = true;
      if (byte !== LF && byte !== CR) continue;
      if (ending === 0 && byte === CR) {
        if (at + 1 === chunk.length) {
          held = Buffer.from(chunk.subarray(at));
          break;
        }
        ending = chunk[at + 1] === LF ? LF : CR;
      } else if (ending === 0) ending = LF;
      if (byte !== ending) continue;
      const record = withoutCr(rest.with(chunk.subarray(start, at)), ending);
      start = at + 1;
      if (record.length > 0) yield cellsOf(record, between);
    }
    rest.add(held === undefined ? chunk.subarray(start) : chunk.subarray(start, chunk.length - 1));
  }
  const last = withoutCr(rest.with(Buffer.alloc(0)), LF);
  if (last.length > 0) yield cellsOf(last, between);
}

function withoutCr(record: Buffer, ending: number): Buffer {
  return ending === LF && record.at(-1) === CR ? record.subarray(0, -1) : record;
}

function cellsOf(record: Buffer, between: Buffer): Buffer[] {
  const cells: Buffer[] = [];
  for (let at = 0; ; at += between.length) {
    let end: number;
    if (record[at] === QUOTE) {
      end = endOfQuotes(record, at, cells.length);
      cells.push(withoutQuotes(record.subarray(at + 1, end - 1)));
      if (end < record.length && !isAt(record, end, between))
        throw new Error(`cell ${cells.length - 1}: something stands behind the quote that ends it`);
    } else {
      end = at;
      while (end < record.length && !isAt(record, end, between)) {
        if (record[end] === QUOTE)
          throw new Error(`cell ${cells.length}: a quote stands within a cell that has none around it`);
        end++;
      }
      cells.push(record.subarray(at, end));
    }
    if (end === record.length) return cells;
    at = end;
  }
}

function isAt(record: Buffer, at: number, between: Buffer): boolean {
  if (record[at] !== between[0]) return false;
  return between.length === 1 || record.compare(between, 0, between.length, at, at + between.length) === 0;
}

/** The offset after the quote that ends a cell. */
function endOfQuotes(record: Buffer, start: number, cell: number): number {
  for (let at = record.indexOf(QUOTE, start + 1); at >= 0; at = record.indexOf(QUOTE, at + 2)) {
    if (record[at + 1] !== QUOTE) return at + 1;
  }
  throw new Error(`cell ${cell}: its quote is not closed`);
}

function withoutQuotes(cell: Buffer): Buffer {
  if (!cell.includes(QUOTE)) return cell;
  return Buffer.from(cell.toString("latin1").replaceAll('""', '"'), "latin1");
}
