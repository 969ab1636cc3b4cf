/**
 * Rows of Parquet, page by page: a row group may have any size, so only a page of each column is in memory. Lists of numbers
 * are views of their page's values, without an object per number.
 *
 * Columns are scalars, or lists of scalars; structs and maps are refused.
 */
import { type FileHandle, open } from "node:fs/promises";
import { type ColumnMetaData, type FileMetaData, parquetMetadataAsync, type SchemaTree } from "hyparquet";
import { parquetHeader } from "hyparquet/src/column.js";
import { convert, convertWithDictionary } from "hyparquet/src/convert.js";
import { decompressPage, readDataPage, readDataPageV2 } from "hyparquet/src/datapage.js";
import { readPlain } from "hyparquet/src/plain.js";
import { getMaxDefinitionLevel, getMaxRepetitionLevel, getSchemaPath } from "hyparquet/src/schema.js";
import { compressors } from "hyparquet-compressors";
import { errorMessage, isVdbError } from "../errors.ts";
import type { FieldSchema } from "../schema.ts";
import { listCell } from "./list-cell.ts";
import { type Levels, listStarts } from "./list-levels.ts";
import { importFailed } from "./names.ts";
import { BATCH_ROWS, type FieldsByName, type ImportRow, type RowSource } from "./row-source.ts";

const READ_BYTES = 1 << 20;
/** A page's header, without the statistics that make some of them longer. */
const HEADER_BYTES = 4096;

/** Types that are the same in the file and in memory, unless a logical type says otherwise. */
const NUMBERS = new Set(["FLOAT", "DOUBLE"]);

type Values = ArrayLike<unknown> & { subarray?: unknown };
type Decoder = Parameters<typeof convertWithDictionary>[3];
type Header = ReturnType<typeof parquetHeader>;

/** @throws VdbError import_failed when it is no Parquet file */
export async function readParquet(path: string, fields: FieldsByName): Promise<RowSource> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const metadata = await parquetMetadataAsync({
      byteLength: size,
      slice: async (start, end = size) => (await readAt(file, start, end - start)).buffer as ArrayBuffer,
    });
    const total = Math.max(1, Number(metadata.num_rows));
    let count = 0;
    return {
      fraction: () => Math.min(1, count / total),
      close: () => file.close(),
      async *batches() {
        try {
          for await (const rows of readRows(file, metadata, fields)) {
            count += rows.length;
            yield rows;
          }
        } catch (error) {
          throw isVdbError(error) ? error : importFailed(`row ${count}: ${errorMessage(error)}`, error);
        }
      },
    };
  } catch (error) {
    await file.close();
    throw importFailed(`is not a readable Parquet file: ${errorMessage(error)}`, error);
  }
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  await readInto(file, bytes, position);
  return bytes;
}

async function readInto(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let read = 0; read < bytes.length; ) {
    const { bytesRead } = await file.read(bytes, read, bytes.length - read, position + read);
    if (bytesRead === 0) throw importFailed("the file ends too early");
    read += bytesRead;
  }
}

async function* readRows(
  file: FileHandle,
  metadata: FileMetaData,
  fields: FieldsByName,
): AsyncGenerator<ImportRow[], void, undefined> {
  for (const group of metadata.row_groups) {
    const columns = group.columns.map(({ meta_data: chunk }) => {
      if (chunk === undefined) throw importFailed("a column has no metadata");
      const name = chunk.path_in_schema[0]!;
      return { name, cells: new CellQueue(readCells(file, metadata, chunk, fields.get(name))) };
    });
    requireOnce(columns.map(({ name }) => name));
    for (let left = Number(group.num_rows); left > 0; ) {
      let count = Math.min(BATCH_ROWS, left);
      for (const { cells } of columns) count = Math.min(count, await cells.available());
      if (count === 0) throw importFailed("a column has fewer rows than its row group");
      const rows = Array.from({ length: count }, (): ImportRow => ({}));
      for (const { name, cells } of columns) cells.fill(rows, name);
      yield rows;
      left -= count;
    }
  }
}

/** The parts of a struct or a map would share one name. */
function requireOnce(names: readonly string[]): void {
  const repeated = names.find((name, i) => names.indexOf(name) !== i);
  if (repeated !== undefined) throw importFailed(`column ${repeated}: structs and maps are not supported`);
}

/** Cells of a column that have been read but not taken. */
class CellQueue {
  readonly #source: AsyncGenerator<unknown[], void, undefined>;
  #cells: unknown[] = [];
  #at = 0;

  constructor(source: AsyncGenerator<unknown[], void, undefined>) {
    this.#source = source;
  }

  /** At least one, unless the column has ended. */
  async available(): Promise<number> {
    while (this.#at === this.#cells.length) {
      const next = await this.#source.next();
      if (next.done === true) return 0;
      this.#cells = next.value;
      this.#at = 0;
    }
    return this.#cells.length - this.#at;
  }

  fill(rows: ImportRow[], name: string): void {
    for (const row of rows) row[name] = this.#cells[this.#at++];
  }
}

async function* readCells(
  file: FileHandle,
  metadata: FileMetaData,
  chunk: ColumnMetaData,
  field: FieldSchema | undefined,
): AsyncGenerator<unknown[], void, undefined> {
  const path = getSchemaPath(metadata.schema, chunk.path_in_schema);
  const lists = getMaxRepetitionLevel(path);
  if (lists > 1 || (lists === 0 && path.length > 2)) {
    throw importFailed(`column ${chunk.path_in_schema[0]}: structs, maps and lists of lists are not supported`);
  }
  const assembler = lists === 1 ? new ListAssembler(path, field) : undefined;
  const maxDefinition = getMaxDefinitionLevel(path);
  for await (const page of readPages(file, decoderOf(chunk, path, field))) {
    yield assembler === undefined ? flatCells(page as Page, maxDefinition) : assembler.take(page);
  }
  const last = assembler?.end();
  if (last !== undefined) yield last;
}

function decoderOf(chunk: ColumnMetaData, schemaPath: SchemaTree[], field: FieldSchema | undefined): Decoder {
  const element = schemaPath.at(-1)!.element;
  const text = new TextDecoder();
  // Times are whole microseconds, as everywhere; JSON stays the text that it is.
  const parsers = {
    timestampFromMilliseconds: (ms: bigint) => BigInt(ms) * 1000n,
    timestampFromMicroseconds: (micros: bigint) => BigInt(micros),
    timestampFromNanoseconds: (nanos: bigint) => BigInt(nanos) / 1000n,
    dateFromDays: (days: number) => new Date(days * 86_400_000).toISOString().slice(0, 10),
    stringFromBytes: (bytes: Uint8Array) => bytes && text.decode(bytes),
    jsonFromBytes: (bytes: Uint8Array) => bytes && text.decode(bytes),
  };
  // Bytes of a vector are not text.
  const isText = field?.type === "VarChar" || field?.type === "JSON" || field === undefined;
  return {
    ...chunk,
    pathInSchema: chunk.path_in_schema,
    element,
    schemaPath,
    parsers,
    compressors,
    utf8: isText,
  } as unknown as Decoder;
}

/** Lists none of which, and no item of which, is missing. */
interface ListPage {
  values: Values;
  /** The first item of each list that begins on it. */
  starts: readonly number[];
}

interface Page {
  values: Values;
  /** Empty: no value is missing. */
  definition: readonly number[];
  repetition: readonly number[];
}

async function* readPages(file: FileHandle, decoder: Decoder): AsyncGenerator<Page | ListPage, void, undefined> {
  const {
    dictionary_page_offset: dictionaryAt,
    data_page_offset: dataAt,
    total_compressed_size: bytes,
  } = decoder as unknown as ColumnMetaData;
  const start = Number(dictionaryAt === undefined || dictionaryAt === 0n ? dataAt : dictionaryAt);
  const reader = new PageReader(file, start, start + Number(bytes));
  let dictionary: Parameters<typeof convertWithDictionary>[1];
  for (let next = await reader.next(); next !== null; next = await reader.next()) {
    const { header, body } = next;
    if (header.dictionary_page_header !== undefined) {
      const page = decompressPage(body, Number(header.uncompressed_page_size), decoder.codec, decoder.compressors);
      const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
      const { num_values: count } = header.dictionary_page_header;
      const { type, element } = decoder;
      dictionary = convert(readPlain({ view, offset: 0 }, type, count, element.type_length), decoder);
      continue;
    }
    const v1 = header.data_page_header;
    const v2 = header.data_page_header_v2;
    if (v1 === undefined && v2 === undefined) continue;
    const page =
      v1 === undefined
        ? body
        : decompressPage(body, Number(header.uncompressed_page_size), decoder.codec, decoder.compressors);
    const lists = plainLists(page, header, decoder);
    if (lists !== undefined) {
      yield lists;
      continue;
    }
    const { definitionLevels, repetitionLevels, dataPage } =
      v1 === undefined ? readDataPageV2(page, header, decoder) : readDataPage(page, v1, decoder);
    const values = convertWithDictionary(dataPage, dictionary, (v1 ?? v2)!.encoding, decoder);
    yield { values, definition: definitionLevels ?? [], repetition: repetitionLevels };
  }
}

/** A page of plainly written lists of numbers, none missing; undefined for all others. @param page of version 1: unpacked */
function plainLists(page: Uint8Array, header: Header, decoder: Decoder): ListPage | undefined {
  const { data_page_header: v1, data_page_header_v2: v2 } = header;
  const { schemaPath, type, element } = decoder;
  if ((v1 ?? v2)!.encoding !== "PLAIN" || !NUMBERS.has(type)) return undefined;
  if (getMaxRepetitionLevel(schemaPath) !== 1 || element.converted_type !== undefined) return undefined;
  if (element.logical_type !== undefined) return undefined;
  const maxDefinition = getMaxDefinitionLevel(schemaPath);
  const count = (v1 ?? v2)!.num_values;
  const bytes = new DataView(page.buffer, page.byteOffset, page.byteLength);
  let levels: Levels;
  let at: number;
  if (v2 === undefined) {
    const block = (start: number): [number, number] => [start + 4, start + 4 + bytes.getUint32(start, true)];
    const repetition = block(0);
    const definition = maxDefinition === 0 ? undefined : block(repetition[1]);
    levels = { bytes: page, repetition, definition, count };
    at = (definition ?? repetition)[1];
  } else {
    const middle = v2.repetition_levels_byte_length;
    at = middle + v2.definition_levels_byte_length;
    levels = {
      bytes: page,
      repetition: [0, middle],
      definition: maxDefinition === 0 ? undefined : [middle, at],
      count,
    };
  }
  const starts = listStarts(levels, maxDefinition);
  if (starts === undefined) return undefined;
  let view = new DataView(page.buffer, page.byteOffset + at, page.byteLength - at);
  if (v2 !== undefined && v2.is_compressed !== false) {
    const size = Number(header.uncompressed_page_size) - at;
    const unpacked = decompressPage(page.subarray(at), size, decoder.codec, decoder.compressors);
    view = new DataView(unpacked.buffer, unpacked.byteOffset, unpacked.byteLength);
  }
  return { values: readPlain({ view, offset: 0 }, type, count, undefined), starts };
}

/** The pages of one column chunk, read as they are asked for. */
class PageReader {
  readonly #file: FileHandle;
  readonly #end: number;
  #position: number;
  #window = new Uint8Array(0);

  constructor(file: FileHandle, start: number, end: number) {
    this.#file = file;
    this.#position = start;
    this.#end = end;
  }

  async next(): Promise<{ header: Header; body: Uint8Array } | null> {
    if (this.#position >= this.#end && this.#window.length === 0) return null;
    const { header, length } = await this.#header();
    await this.#need(length + header.compressed_page_size);
    const body = this.#window.subarray(length, length + header.compressed_page_size);
    this.#window = this.#window.subarray(length + header.compressed_page_size);
    return { header, body };
  }

  async #header(): Promise<{ header: Header; length: number }> {
    for (let bytes = HEADER_BYTES; ; bytes *= 4) {
      const isAll = !(await this.#need(bytes));
      const { buffer, byteOffset, byteLength } = this.#window;
      const reader = { view: new DataView(buffer, byteOffset, byteLength), offset: 0 };
      try {
        return { header: parquetHeader(reader), length: reader.offset };
      } catch (error) {
        if (isAll || !(error instanceof RangeError)) throw error;
      }
    }
  }

  /** Makes sure that the window has at least this many bytes; false when fewer are left. Bytes handed out before do not change. */
  async #need(bytes: number): Promise<boolean> {
    if (this.#window.length >= bytes) return true;
    const more = Math.min(this.#end - this.#position, Math.max(READ_BYTES, bytes - this.#window.length));
    const kept = this.#window.length;
    // All of it gets written: zeroing would only take time.
    const window = new Uint8Array(Buffer.allocUnsafeSlow(kept + more).buffer);
    window.set(this.#window);
    await readInto(this.#file, window.subarray(kept), this.#position);
    this.#position += more;
    this.#window = window;
    return window.length >= bytes;
  }
}

function flatCells({ values, definition }: Page, maxDefinition: number): unknown[] {
  if (definition.length === 0) return Array.from(values);
  let next = 0;
  return Array.from(definition, (level) => (level === maxDefinition ? values[next++] : null));
}

/** Lists of one column: one may begin on a page and end on a later one. */
class ListAssembler {
  readonly #field: FieldSchema | undefined;
  readonly #maxDefinition: number;
  /** From this level on there is an item; one level below, the list is empty; further below, it is null. */
  readonly #itemLevel: number;
  readonly #isOptional: boolean;
  /** The parts on earlier pages of a list that has begun. */
  #open: unknown[] | undefined;

  constructor(path: SchemaTree[], field: FieldSchema | undefined) {
    this.#field = field;
    this.#maxDefinition = getMaxDefinitionLevel(path);
    const repeatedAt = path.findIndex(({ element }) => element.repetition_type === "REPEATED");
    this.#itemLevel = getMaxDefinitionLevel(path.slice(0, repeatedAt + 1));
    this.#isOptional = path.slice(1, repeatedAt).some(({ element }) => element.repetition_type === "OPTIONAL");
  }

  /** The lists that are known to be complete. */
  take(page: Page | ListPage): unknown[] {
    return "starts" in page ? this.#takeLists(page) : this.#takeLevels(page);
  }

  #takeLists({ values, starts }: ListPage): unknown[] {
    const cells: unknown[] = [];
    let from = 0;
    for (const start of starts) {
      if (start > 0 || this.#open !== undefined) cells.push(this.#close(values, from, start));
      from = start;
      this.#open = [];
    }
    if (values.length > from) this.#open?.push(...asItems(listCell(values as never, from, values.length, this.#field)));
    return cells;
  }

  #takeLevels({ values, definition, repetition }: Page): unknown[] {
    const cells: unknown[] = [];
    const isPlain = definition.length === 0;
    let start = 0;
    let value = 0;
    for (let i = 0; i < repetition.length; i++) {
      if (repetition[i] === 0) {
        if (i > 0 || this.#open !== undefined) cells.push(this.#close(values, start, value));
        start = value;
        this.#open = [];
      }
      const level = isPlain ? this.#maxDefinition : definition[i]!;
      if (level === this.#maxDefinition) value++;
      else if (level >= this.#itemLevel) {
        this.#open!.push(...asItems(listCell(values as never, start, value, this.#field)), null);
        start = value;
      } else if (this.#isOptional && level < this.#itemLevel - 1) this.#open!.push(NULL_LIST);
    }
    if (value > start) this.#open?.push(...asItems(listCell(values as never, start, value, this.#field)));
    return cells;
  }

  end(): unknown[] | undefined {
    return this.#open === undefined ? undefined : [this.#close([], 0, 0)];
  }

  #close(values: Values, start: number, end: number): unknown {
    const before = this.#open ?? [];
    if (before[0] === NULL_LIST) return null;
    const part = listCell(values as never, start, end, this.#field);
    if (before.length === 0) return part;
    return listCell([...before, ...asItems(part)] as never, 0, before.length + (end - start), this.#field);
  }
}

const NULL_LIST = Symbol("null list");

function asItems(part: unknown): unknown[] {
  return Array.from(part as ArrayLike<unknown>);
}
