/** Records of an NDJSON file: one JSON object a line. Line n (counted from 1) is record n: nothing is skipped. */
import { errorMessage } from "../../errors.ts";
import { parseJson } from "../../protocol/public-codec.ts";
import { openFile } from "./open-file.ts";

export type ImportRecord = Record<string, unknown>;

const NEWLINE = 10;
/** No record that a cluster takes is longer, and a file without newlines must not fill memory. */
const LINE_BYTES_MAX = 64 << 20;

export interface RecordReader {
  /** The next records, at most `count`; fewer, or none, at the end. @throws Error that names file and line */
  take(count: number): Promise<ImportRecord[]>;
  fraction(): number;
  close(): void;
}

export function readRecords(path: string): RecordReader {
  const file = openFile(path);
  const lines = splitLines(path, file.chunks);
  let lastLine = 0;
  return {
    fraction: file.fraction,
    close: file.close,
    async take(count) {
      const records: ImportRecord[] = [];
      while (records.length < count) {
        const next = await lines.next();
        if (next.done === true) break;
        lastLine++;
        records.push(parseRecord(next.value, `${path}:${lastLine}`));
      }
      return records;
    },
  };
}

/** Lines of a file, the last one with or without its newline. */
async function* splitLines(path: string, chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, undefined> {
  let rest: Buffer[] = [];
  let restBytes = 0;
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      const piece = chunk.subarray(start, end);
      yield rest.length === 0 ? piece : Buffer.concat([...rest, piece]);
      rest = [];
      restBytes = 0;
      start = end + 1;
    }
    if (start === chunk.length) continue;
    rest.push(chunk.subarray(start));
    restBytes += chunk.length - start;
    if (restBytes > LINE_BYTES_MAX) throw new Error(`${path}: a line is longer than ${LINE_BYTES_MAX} bytes`);
  }
  if (restBytes > 0) yield Buffer.concat(rest);
}

function parseRecord(line: Buffer, place: string): ImportRecord {
  let value: unknown;
  try {
    value = parseJson(line.toString("utf8"));
  } catch (error) {
    // What stands before is in the words of a request.
    throw new Error(`${place}: is not JSON: ${errorMessage(error).replace(/^.*error: /, "")}`);
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as ImportRecord;
  throw new Error(`${place}: expected a JSON object, got ${line.subarray(0, 40).toString("utf8")}`);
}

export async function countLines(path: string): Promise<number> {
  const file = openFile(path);
  let lines = 0;
  let endsInLine = false;
  for await (const chunk of file.chunks) {
    for (let at = chunk.indexOf(NEWLINE); at !== -1; at = chunk.indexOf(NEWLINE, at + 1)) lines++;
    endsInLine = chunk.at(-1) !== NEWLINE;
  }
  return endsInLine ? lines + 1 : lines;
}
