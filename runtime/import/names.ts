/**
 * Names of import files and what they mean: uploads are objects below `upload/`, everything else is a path below the data
 * nodes' `data.importDir`. The ending tells the format.
 */
import { VdbError } from "../errors.ts";

const UPLOAD_SCHEME = "upload://";

/** Objects below it are uploads: removed once a job has read them, or after a day. */
const UPLOAD_FOLDER = "upload/";

/** Most bytes of a packed file, unpacked. */
export const FILE_BYTES_MAX = 16 * 1024 ** 3;

const IMPORT_FORMATS = ["json", "lines", "csv", "parquet", "arrow"] as const;
export type ImportFormat = (typeof IMPORT_FORMATS)[number];

const ENDINGS: Record<string, ImportFormat> = {
  json: "json",
  ndjson: "lines",
  jsonl: "lines",
  csv: "csv",
  parquet: "parquet",
  arrow: "arrow",
  feather: "arrow",
};

/** These are compressed internally, if at all, not as a whole. */
const PACKED_WITHIN: readonly ImportFormat[] = ["parquet", "arrow"];

const KNOWN_ENDINGS = Object.entries(ENDINGS)
  .flatMap(([ending, format]) => (PACKED_WITHIN.includes(format) ? [`.${ending}`] : [`.${ending}`, `.${ending}.gz`]))
  .join(", ");

/** The object of `upload://name`; null: the name is a path. @throws VdbError import_failed */
export function uploadedObject(name: string): string | null {
  if (!name.startsWith(UPLOAD_SCHEME)) return null;
  const path = name.slice(UPLOAD_SCHEME.length);
  if (!/^[\w.-]+(\/[\w.-]+)*$/.test(path)) {
    throw importFailed(`an upload's name has letters, digits, _ . - and / between them, got ${name}`);
  }
  return `${UPLOAD_FOLDER}${path}`;
}

export function uploadName(path: string): string {
  return `${UPLOAD_SCHEME}${path}`;
}

export function isUpload(objectName: string): boolean {
  return objectName.startsWith(UPLOAD_FOLDER);
}

/** @throws VdbError import_failed */
export function formatOf(name: string): ImportFormat {
  const plain = name.toLowerCase().replace(/\.gz$/, "");
  const format = ENDINGS[plain.slice(plain.lastIndexOf(".") + 1)];
  const isPacked = plain.length < name.length;
  if (format !== undefined && !(isPacked && PACKED_WITHIN.includes(format))) return format;
  throw importFailed(`unexpected file type, files=[${name}], expected one of ${KNOWN_ENDINGS}`);
}

/** An error with Milvus's code 2100 and its words in front. */
export function importFailed(message: string, cause?: unknown): VdbError {
  return new VdbError("import_failed", `importing data failed: ${message}`, cause === undefined ? {} : { cause });
}
