/**
 * Rows of JSON: objects one after the other (NDJSON, or with any white space between them), an array of objects, or
 * `{"rows": [...]}`. The file is cut into the texts of single rows, byte by byte, so no more than one of them is parsed at
 * a time, however long the file.
 */
import { createReadStream, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { pipeline, type Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { errorMessage, isVdbError } from "../errors.ts";
import { FILE_BYTES_MAX, importFailed } from "./names.ts";
import { parseRowText, type VectorName, vectorNames } from "./parse-row.ts";
import { BATCH_ROWS, type FieldsByName, type ImportRow, type RowSource } from "./row-source.ts";

const CHUNK_BYTES = 1 << 20;

/** A cluster takes no longer row, and a bracket that is never closed must not fill memory. */
const ROW_BYTES_MAX = 64 << 20;

/** How `{"rows": [...]}` begins. */
const ROWS_OBJECT = /^\s*\{\s*"rows"\s*:\s*\[/;
const ROWS_OBJECT_BYTES = 256;

/** @param isLines one object per line: errors then name the line */
export function readJson(path: string, fields: FieldsByName, isLines: boolean): RowSource {
  const file = openText(path);
  const vectors = vectorNames(fields);
  return {
    fraction: file.fraction,
    close: file.close,
    async *batches() {
      let rows: ImportRow[] = [];
      let count = 0;
      for await (const text of isLines ? splitLines(file.chunks) : splitValues(file.chunks)) {
        rows.push(parseRow(text, vectors, count++));
        if (rows.length < BATCH_ROWS) continue;
        yield rows;
        rows = [];
      }
      if (rows.length > 0) yield rows;
    },
  };
}

export interface TextFile {
  /** Each is valid until the next one is requested. */
  readonly chunks: AsyncIterable<Buffer>;
  fraction(): number;
  close(): Promise<void>;
}

/**
 * A file as chunks, unpacked on the way when its name ends in `.gz`, without the byte order mark that some editors put in
 * front. A few bytes may unpack to any number: more than `bytesMax` are refused.
 */
export function openText(path: string, bytesMax = FILE_BYTES_MAX): TextFile {
  const { size } = statSync(path);
  const fractionOf = (bytes: number) => (size === 0 ? 1 : Math.min(1, bytes / size));
  if (!path.endsWith(".gz")) {
    let bytes = 0;
    const chunks = inTwoBuffers(path, (read) => {
      bytes += read;
    });
    return {
      chunks: withoutMark(named(chunks, bytesMax)),
      fraction: () => fractionOf(bytes),
      // Open only while it is read.
      close: async () => undefined,
    };
  }
  const source = createReadStream(path, { highWaterMark: CHUNK_BYTES });
  // An error of either stream ends the last one, and its reader gets it.
  const stream: Readable = pipeline(source, createGunzip(), () => undefined);
  return {
    chunks: withoutMark(named(stream as AsyncIterable<Buffer>, bytesMax)),
    fraction: () => fractionOf(source.bytesRead),
    close: async () => {
      source.destroy();
      stream.destroy();
    },
  };
}

/**
 * A file's bytes, in two reused buffers: new ones for a large file cost more than reading it. One is filled while the other is
 * used.
 */
async function* inTwoBuffers(path: string, onRead: (bytes: number) => void): AsyncGenerator<Buffer, void, undefined> {
  await using file = await open(path);
  const buffers = [Buffer.allocUnsafe(CHUNK_BYTES), Buffer.allocUnsafe(CHUNK_BYTES)] as const;
  const read = (buffer: Buffer) => {
    const reading = file.read(buffer, 0, buffer.length, null);
    // The request for the next part gets the error.
    reading.catch(() => undefined);
    return reading;
  };
  let next = read(buffers[0]);
  try {
    for (let turn = 1; ; turn ^= 1) {
      const { bytesRead, buffer } = await next;
      if (bytesRead === 0) return;
      onRead(bytesRead);
      next = read(buffers[turn as 0 | 1]);
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    // Nothing reads a file that is closed.
    await next.catch(() => undefined);
  }
}

async function* named(source: AsyncIterable<Buffer>, bytesMax: number): AsyncGenerator<Buffer, void, undefined> {
  let bytes = 0;
  try {
    for await (const chunk of source) {
      bytes += chunk.length;
      if (bytes > bytesMax)
        throw importFailed(`the file has more than ${bytesMax} bytes unpacked, at most so many are allowed`);
      yield chunk;
    }
  } catch (error) {
    if (isVdbError(error)) throw error;
    throw importFailed(`cannot be read: ${errorMessage(error)}`, error);
  }
}

const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf];

async function* withoutMark(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, undefined> {
  let head: Buffer | undefined = Buffer.alloc(0);
  for await (const chunk of chunks) {
    if (head === undefined) {
      yield chunk;
      continue;
    }
    head = Buffer.concat([head, chunk]);
    if (head.length < BYTE_ORDER_MARK.length) continue;
    yield head.subarray(BYTE_ORDER_MARK.every((byte, i) => head?.[i] === byte) ? BYTE_ORDER_MARK.length : 0);
    head = undefined;
  }
  if (head !== undefined) yield head;
}

function parseRow(text: Buffer, vectors: readonly VectorName[], row: number): ImportRow {
  let value: unknown;
  try {
    value = parseRowText(text, vectors);
  } catch (error) {
    // The text before is worded for requests.
    const why = errorMessage(error).replace(/^.*?error: /, "");
    throw importFailed(`row ${row}: is not JSON: ${why}`, isVdbError(error) ? undefined : error);
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as ImportRow;
  throw importFailed(`row ${row}: expected a JSON object, got ${text.subarray(0, 40).toString("utf8")}`);
}

const NEWLINE = 10;

/** Lines that are not empty, the last one with or without its newline. */
async function* splitLines(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, undefined> {
  const rest = new Rest();
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      const line = rest.with(chunk.subarray(start, end));
      if (!isBlank(line)) yield line;
      start = end + 1;
    }
    rest.add(chunk.subarray(start));
  }
  const last = rest.with(Buffer.alloc(0));
  if (!isBlank(last)) yield last;
}

function isBlank(line: Buffer): boolean {
  for (const byte of line) if (!isSpace(byte)) return false;
  return true;
}

/** The beginning of a row whose end has not been read yet. */
export class Rest {
  #parts: Buffer[] = [];
  #bytes = 0;

  add(part: Buffer): void {
    if (part.length === 0) return;
    // The next chunk takes the place of this one.
    this.#parts.push(Buffer.from(part));
    this.#bytes += part.length;
    if (this.#bytes > ROW_BYTES_MAX) throw importFailed(`a row is longer than ${ROW_BYTES_MAX} bytes`);
  }

  /** Returns everything, with the last part, and is empty again. */
  with(last: Buffer): Buffer {
    if (this.#parts.length === 0) return last;
    const whole = Buffer.concat([...this.#parts, last]);
    this.#parts = [];
    this.#bytes = 0;
    return whole;
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const COMMA = 0x2c;

function isSpace(byte: number): boolean {
  return byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
}

/** The texts of the rows: of an array, of the array in `{"rows": [...]}`, or of values one after the other. */
async function* splitValues(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, undefined> {
  const splitter = new ValueSplitter();
  let head: Buffer | undefined = Buffer.alloc(0);
  for await (const chunk of chunks) {
    if (head === undefined) {
      yield* splitter.take(chunk);
      continue;
    }
    head = Buffer.concat([head, chunk]);
    if (head.length < ROWS_OBJECT_BYTES) continue;
    yield* splitter.begin(head);
    head = undefined;
  }
  if (head !== undefined) yield* splitter.begin(head);
  splitter.end();
}

class ValueSplitter {
  readonly #rest = new Rest();
  /** Brackets that are open within the row; 0: between two rows. */
  #depth = 0;
  #inText = false;
  #isEscaped = false;
  /** Whether the rows are in an array, and whether that has ended. */
  #inArray = false;
  #isClosed = false;
  #rows = 0;

  *begin(head: Buffer): Generator<Buffer, void, undefined> {
    let start = 0;
    const wrapped = ROWS_OBJECT.exec(head.toString("latin1", start, start + ROWS_OBJECT_BYTES));
    if (wrapped !== null) start += wrapped[0].length;
    else {
      while (start < head.length && isSpace(head[start]!)) start++;
      this.#inArray = head[start] === OPEN_BRACKET;
      if (this.#inArray) start++;
    }
    this.#inArray ||= wrapped !== null;
    yield* this.take(head.subarray(start));
  }

  *take(chunk: Buffer): Generator<Buffer, void, undefined> {
    let start = 0;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at]!;
      if (this.#depth === 0) {
        if (!this.#begins(byte)) continue;
        start = at;
        this.#depth = 1;
      } else if (this.#inText) {
        if (this.#isEscaped) this.#isEscaped = false;
        else if (byte === BACKSLASH) this.#isEscaped = true;
        else if (byte === QUOTE) this.#inText = false;
      } else if (byte === QUOTE) this.#inText = true;
      else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) this.#depth++;
      else if ((byte === CLOSE_BRACE || byte === CLOSE_BRACKET) && --this.#depth === 0) {
        this.#rows++;
        yield this.#rest.with(chunk.subarray(start, at + 1));
      }
    }
    if (this.#depth > 0) this.#rest.add(chunk.subarray(start));
  }

  end(): void {
    if (this.#depth > 0) throw importFailed(`row ${this.#rows}: the file ends within the row`);
    if (this.#inArray && !this.#isClosed) throw importFailed("the file ends within its array of rows");
  }

  /** Whether a byte between two rows begins a row. */
  #begins(byte: number): boolean {
    if (isSpace(byte) || this.#isClosed) return false;
    if (byte === OPEN_BRACE) return true;
    if (this.#inArray && byte === COMMA) return false;
    if (this.#inArray && byte === CLOSE_BRACKET) {
      this.#isClosed = true;
      return false;
    }
    throw importFailed(`row ${this.#rows}: expected a JSON object, got ${String.fromCharCode(byte)}`);
  }
}
