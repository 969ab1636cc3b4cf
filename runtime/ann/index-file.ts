/**
 * FAISS index files, as far as we must know them: where the search effort and the build effort are, and whether the lengths in
 * a file add up to its size.
 *
 * Why read them at all: faiss-node cannot set efConstruction, efSearch or nprobe, but all three are plain fields of the file.
 * And a damaged length makes FAISS allocate without bound and abort the process, so it is refused before.
 *
 * Layout from FAISS's own writer (faiss/impl/index_write.cpp, the same from 1.7.3 to 1.11), little-endian, packed:
 *   index    fourcc, d i32, ntotal i64, 2 x i64 unused, is_trained u8, metric i32 (0 inner product, 1 L2), body by fourcc
 *   vector   count u64, then its elements
 *   IxFI|F2  vector of float32
 *   IxSQ     rows as they are: kind i32 (4 float16, 7 bfloat16, 8 int8 plus 128), 8 bytes, d u64, code_size u64, vector of
 *            float32 (empty), vector of bytes. For COSINE they are not normalised: who reads them divides by the lengths
 *   IBxF     d i32, bytes a row i32, ntotal i64, is_trained u8, metric i32 (1), vector of bytes: bits. Has no header as above
 *   IHNf|s   vectors: assign_probas f64, cum_nneighbor_per_level i32, levels i32, offsets u64, neighbors i32;
 *            entry_point i32, max_level i32, efConstruction i32, efSearch i32, upper_beam i32; index (storage)
 *   Iw..     nlist u64, nprobe u64, index (quantizer), direct map u8 + vector of i64; then
 *            IwFl  inverted lists
 *            IwSq  qtype i32, rangestat i32, rangestat_arg f32, d u64, code_size u64, vector of f32; code_size u64,
 *                  by_residual u8; inverted lists
 *            IwPQ  by_residual u8, code_size u64; d u64, M u64, nbits u64, vector of f32; inverted lists
 *   lists    "ilar", nlist u64, code_size u64, "full" + vector of u64 sizes | "sprs" + vector of u64 (list, size);
 *            then for each list its codes and its i64 ids
 */
import { type FileHandle, open } from "node:fs/promises";
import { errorMessage, VdbError } from "../errors.ts";
import type { PackedVectorType } from "../schema.ts";
import type { IndexToLoad } from "./engine.ts";
import type { EngineIndexType } from "./index-params.ts";

/** An integer field of the file that may be overwritten in place. */
export interface FileField {
  offset: number;
  bytes: 4 | 8;
  value: number;
}

export interface IndexFileInfo {
  type: EngineIndexType;
  /** FAISS has no cosine: such an index holds normalised rows and says inner product. For bits: HAMMING. */
  metric: "L2" | "IP" | "HAMMING";
  dimension: number;
  rows: number;
  bytes: number;
  /** The type in which the rows are kept; absent: float32, or codes. */
  packed?: PackedVectorType;
  /** efSearch of HNSW, nprobe of IVF; absent for FLAT. */
  effort?: FileField;
  /** HNSW only. */
  efConstruction?: FileField;
}

/**
 * Reads the structure of an index file and checks that it is complete. Reads a few KiB, whatever the size of the file.
 * @throws VdbError corrupt
 */
export async function inspectIndexFile(path: string): Promise<IndexFileInfo> {
  let file: FileHandle;
  try {
    file = await open(path, "r");
  } catch (error) {
    throw new VdbError("corrupt", `index file cannot be opened: ${errorMessage(error)}`, { cause: error });
  }
  try {
    const { size } = await file.stat();
    const cursor = new Cursor(file, path, size);
    const info = await readIndex(cursor);
    if (cursor.position !== size) throw cursor.damaged(`${size - cursor.position} bytes too many`);
    return { ...info, bytes: size };
  } finally {
    await file.close();
  }
}

/** @throws VdbError corrupt when a file does not hold what it should */
export function checkFileIsIndex(
  info: Pick<IndexFileInfo, "type" | "metric" | "rows" | "dimension">,
  index: IndexToLoad,
): void {
  const metric = index.metric === "L2" || index.metric === "HAMMING" ? index.metric : "IP";
  const is = `${info.type} ${info.metric} of ${info.rows} x ${info.dimension}`;
  const saidToBe = `${index.type} ${metric} of ${index.rows} x ${index.dimension}`;
  if (is !== saidToBe) throw new VdbError("corrupt", `index file must hold ${saidToBe}, it holds ${is}`);
}

/** Overwrites one field of an index file. */
export async function patchIndexFile(path: string, field: FileField, value: number): Promise<void> {
  const file = await open(path, "r+");
  try {
    await file.write(encodeField(field, value), 0, field.bytes, field.offset);
  } finally {
    await file.close();
  }
}

export function encodeField(field: Pick<FileField, "bytes">, value: number): Buffer {
  const bytes = Buffer.alloc(field.bytes);
  if (field.bytes === 4) bytes.writeInt32LE(value);
  else bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

type Found = Omit<IndexFileInfo, "bytes">;

async function readIndex(cursor: Cursor): Promise<Found> {
  const fourcc = await cursor.fourcc();
  if (fourcc === "IBxF") return readBits(cursor);
  const dimension = await cursor.i32();
  const rows = await cursor.u64();
  cursor.skip(16);
  const isTrained = await cursor.u8();
  const metricCode = await cursor.i32();
  if (dimension < 1 || isTrained > 1) throw cursor.damaged("impossible header");
  if (metricCode !== 0 && metricCode !== 1) throw cursor.damaged(`unknown metric ${metricCode}`);
  const header = { dimension, rows, metric: metricCode === 0 ? ("IP" as const) : ("L2" as const) };
  switch (fourcc) {
    case "IxFI":
    case "IxF2":
      if ((await cursor.vector(4)) !== rows * dimension) throw cursor.damaged("vectors do not match the row count");
      return { type: "FLAT", ...header };
    case "IxSQ":
      return { type: "FLAT", ...header, packed: await readPacked(cursor, rows, dimension) };
    case "IHNf":
    case "IHNs":
      return { type: "HNSW", ...header, ...(await readHnsw(cursor, rows)) };
    case "IwFl":
    case "IwSq":
    case "IwPQ":
      return readIvf(cursor, fourcc, header);
    default:
      throw cursor.damaged(`unknown index kind ${JSON.stringify(fourcc)}`);
  }
}

const QUANTIZERS: Readonly<Record<number, { packed: PackedVectorType; bytes: number }>> = {
  4: { packed: "Float16Vector", bytes: 2 },
  7: { packed: "BFloat16Vector", bytes: 2 },
  8: { packed: "Int8Vector", bytes: 1 },
};

async function readPacked(cursor: Cursor, rows: number, dimension: number): Promise<PackedVectorType> {
  const quantizer = QUANTIZERS[await cursor.i32()];
  cursor.skip(24);
  await cursor.vector(4);
  if (quantizer === undefined) throw cursor.damaged("vectors are stored in an unknown way");
  if ((await cursor.vector(1)) !== rows * dimension * quantizer.bytes) {
    throw cursor.damaged("vectors do not match the row count");
  }
  return quantizer.packed;
}

async function readBits(cursor: Cursor): Promise<Found> {
  const dimension = await cursor.i32();
  const rowBytes = await cursor.i32();
  const rows = await cursor.u64();
  cursor.skip(5);
  if (rowBytes * 8 !== dimension || (await cursor.vector(1)) !== rows * rowBytes) {
    throw cursor.damaged("vectors do not match the row count");
  }
  return { type: "BIN_FLAT", metric: "HAMMING", packed: "BinaryVector", dimension, rows };
}

async function readHnsw(
  cursor: Cursor,
  rows: number,
): Promise<Pick<Found, "packed"> & { effort: FileField; efConstruction: FileField }> {
  await cursor.vector(8);
  await cursor.vector(4);
  const levels = await cursor.vector(4);
  const offsets = await cursor.vector(8);
  await cursor.vector(4);
  if (levels !== rows || offsets !== rows + 1) throw cursor.damaged("graph does not match the row count");
  cursor.skip(8);
  const efConstruction = await cursor.field(4);
  const effort = await cursor.field(4);
  cursor.skip(4);
  const storage = await readIndex(cursor);
  if (storage.type !== "FLAT" || storage.rows !== rows) throw cursor.damaged("graph and vectors differ");
  return { effort, efConstruction, ...(storage.packed === undefined ? {} : { packed: storage.packed }) };
}

async function readIvf(
  cursor: Cursor,
  fourcc: "IwFl" | "IwSq" | "IwPQ",
  header: Pick<Found, "dimension" | "rows" | "metric">,
): Promise<Found> {
  const nlist = await cursor.u64();
  const effort = await cursor.field(8);
  const quantizer = await readIndex(cursor);
  if (quantizer.type !== "FLAT" || quantizer.rows !== nlist) throw cursor.damaged("quantizer does not match nlist");
  const directMap = await cursor.u8();
  if (directMap !== 0) throw cursor.damaged(`direct map of kind ${directMap} is not known`);
  await cursor.vector(8);
  if (fourcc === "IwSq") {
    cursor.skip(28);
    await cursor.vector(4);
    cursor.skip(9);
  }
  if (fourcc === "IwPQ") {
    cursor.skip(33);
    await cursor.vector(4);
  }
  await skipInvertedLists(cursor, nlist, header.rows);
  const type = ({ IwFl: "IVF_FLAT", IwSq: "IVF_SQ8", IwPQ: "IVF_PQ" } as const)[fourcc];
  return { type, ...header, effort };
}

async function skipInvertedLists(cursor: Cursor, nlist: number, rows: number): Promise<void> {
  if ((await cursor.fourcc()) !== "ilar") throw cursor.damaged("inverted lists are missing");
  const lists = await cursor.u64();
  const codeBytes = await cursor.u64();
  const form = await cursor.fourcc();
  if (lists !== nlist || (form !== "full" && form !== "sprs")) throw cursor.damaged("impossible inverted lists");
  const sizes = await cursor.u64Vector(2 * nlist);
  // Full: one size a list. Sparse: (list, size) pairs.
  let entries = 0;
  for (let i = form === "full" ? 0 : 1; i < sizes.length; i += form === "full" ? 1 : 2) entries += sizes[i]!;
  if (entries !== rows) throw cursor.damaged("inverted lists do not match the row count");
  cursor.skip(entries * (codeBytes + 8));
}

/** Reads small fields in order and steps over the large ones, never beyond the end. */
class Cursor {
  position = 0;
  readonly #file: FileHandle;
  readonly #path: string;
  readonly #size: number;

  constructor(file: FileHandle, path: string, size: number) {
    this.#file = file;
    this.#path = path;
    this.#size = size;
  }

  damaged(what: string): VdbError {
    return new VdbError("corrupt", `index file ${this.#path} is damaged at byte ${this.position}: ${what}`);
  }

  skip(bytes: number): void {
    // Also false for the NaN of an absurd product.
    if (!(bytes >= 0 && this.position + bytes <= this.#size)) throw this.damaged("it ends too early");
    this.position += bytes;
  }

  async #read(bytes: number): Promise<Buffer> {
    const offset = this.position;
    this.skip(bytes);
    const buffer = Buffer.allocUnsafe(bytes);
    const { bytesRead } = await this.#file.read(buffer, 0, bytes, offset);
    if (bytesRead !== bytes) throw this.damaged("it ends too early");
    return buffer;
  }

  async fourcc(): Promise<string> {
    return (await this.#read(4)).toString("latin1");
  }

  async u8(): Promise<number> {
    return (await this.#read(1)).readUInt8();
  }

  async i32(): Promise<number> {
    return (await this.#read(4)).readInt32LE();
  }

  async u64(): Promise<number> {
    return Number((await this.#read(8)).readBigUInt64LE());
  }

  async field(bytes: 4 | 8): Promise<FileField> {
    const offset = this.position;
    return { offset, bytes, value: bytes === 4 ? await this.i32() : await this.u64() };
  }

  /** Steps over a vector and returns its element count. */
  async vector(elementBytes: number): Promise<number> {
    const count = await this.u64();
    this.skip(count * elementBytes);
    return count;
  }

  async u64Vector(countMax: number): Promise<number[]> {
    const count = await this.u64();
    if (count > countMax) throw this.damaged("impossible inverted lists");
    const bytes = await this.#read(count * 8);
    return Array.from({ length: count }, (_, i) => Number(bytes.readBigUInt64LE(i * 8)));
  }
}
