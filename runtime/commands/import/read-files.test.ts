import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { countLines, readRecords } from "./read-records.ts";
import { countBytes, readVectors } from "./read-vectors.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "vdb-import-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, name.endsWith(".gz") ? gzipSync(content) : content);
  return path;
}

describe("records", () => {
  test.each(["plain.ndjson", "packed.ndjson.gz"])("come line by line from %s, as many as asked for", async (name) => {
    const reader = readRecords(file(name, '{"id":1}\n{"id":2}\n{"id":3}\n'));
    expect(await reader.take(2)).toEqual([{ id: 1 }, { id: 2 }]);
    expect(await reader.take(2)).toEqual([{ id: 3 }]);
    expect(await reader.take(2)).toEqual([]);
    expect(reader.fraction()).toBe(1);
    reader.close();
  });

  test("need no newline after the last one", async () => {
    const path = file("a.ndjson", '{"id":1}\r\n{"id":"é"}');
    expect(await readRecords(path).take(9)).toEqual([{ id: 1 }, { id: "é" }]);
    expect(await countLines(path)).toBe(2);
  });

  test("longer than a chunk of the file are whole", async () => {
    const text = "x".repeat(3_000_000);
    const path = file("long.ndjson", `{"id":1,"text":"${text}"}\n{"id":2}\n`);
    const [first, second] = await readRecords(path).take(2);
    expect(first!.text).toHaveLength(text.length);
    expect(second).toEqual({ id: 2 });
    expect(await countLines(path)).toBe(2);
  });

  test("keep integers beyond 2^53 exact", async () => {
    const [record] = await readRecords(file("big.ndjson", '{"id":9223372036854775807}\n')).take(1);
    expect(record!.id).toBe(9_223_372_036_854_775_807n);
  });

  test.each([
    ["no JSON", '{"id":1}\n{"id":\n', /a\.ndjson:2: is not JSON: Unexpected end/],
    ["no object", '{"id":1}\n[1]\n', /a\.ndjson:2: expected a JSON object, got \[1\]/],
    ["an empty line", '{"id":1}\n\n{"id":2}\n', /a\.ndjson:2: is not JSON/],
  ])("that are %s are named by file and line", async (_, content, message) => {
    await expect(readRecords(file("a.ndjson", content)).take(9)).rejects.toThrow(message);
  });

  test("of a file that is not there, or is no gzip, are an error that names it", async () => {
    expect(() => readRecords(join(folder, "absent.ndjson"))).toThrow(/cannot read .*absent\.ndjson: ENOENT/);
    const path = join(folder, "plain.gz");
    writeFileSync(path, "no gzip");
    await expect(readRecords(path).take(1)).rejects.toThrow(/cannot read .*plain\.gz: incorrect header check/);
  });
});

describe("vectors", () => {
  const values = Float32Array.from({ length: 9 }, (_, i) => i / 8);

  test.each(["plain.f32", "packed.f32.gz"])("come row by row from %s, in memory of their own", async (name) => {
    const path = file(name, Buffer.from(values.buffer));
    const reader = readVectors(path, 3);
    const first = await reader.take(2);
    expect(first).toEqual(values.slice(0, 6));
    expect(first.buffer.byteLength).toBe(24);
    expect(await reader.isAtEnd()).toBe(false);
    expect(await reader.take(1)).toEqual(values.slice(6));
    expect(await reader.isAtEnd()).toBe(true);
    expect(await countBytes(path)).toBe(36);
    reader.close();
  });

  test("that end before the records are an error that names the line", async () => {
    const reader = readVectors(file("short.f32", Buffer.from(values.buffer, 0, 32)), 3);
    await reader.take(2);
    await expect(reader.take(1)).rejects.toThrow(/short\.f32 ends after 2 vectors of 3 values: line 3 has no vector/);
  });
});
