import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isPackedVectorType } from "../schema.ts";
import { systemClock } from "../system-clock.ts";
import { ALL_FIELDS, batchOf, KEY_FIELD, type ModelRow, rowsArbitrary, VECTOR_FIELD } from "../testing/column-rows.ts";
import { writeSegmentFile } from "./arrow-file.ts";
import { type FieldVectors, findVectors } from "./find-vectors.ts";
import { presentVectors } from "./present-vectors.ts";

const PACKED_FIELD_IDS = ALL_FIELDS.filter(({ type }) => isPackedVectorType(type)).map(({ fieldId }) => fieldId);

let dir: string;
let path: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "vdb-find-vectors-"));
  path = join(dir, "segment.arrow");
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

async function writeSegment(lists: readonly ModelRow[][]): Promise<Buffer> {
  const chunks = lists.map((rows) => ({
    batch: batchOf(ALL_FIELDS, rows),
    timestamps: BigInt64Array.from(rows, (_, i) => BigInt(i)),
  }));
  const parts: Uint8Array[] = [];
  for await (const part of writeSegmentFile(ALL_FIELDS, chunks, systemClock)) parts.push(part);
  const bytes = Buffer.concat(parts);
  writeFileSync(path, bytes);
  return bytes;
}

function bytesIn(file: Uint8Array, { parts }: FieldVectors): number {
  for (const { offset, bytes } of parts) expect(offset + bytes).toBeLessThanOrEqual(file.length);
  return parts.reduce((sum, { bytes }) => sum + bytes, 0);
}

describe("findVectors", () => {
  it("points at every vector of a segment with fields of every type, in order", async () => {
    const chunkLists = fc.array(rowsArbitrary(ALL_FIELDS, { minLength: 1, maxLength: 9 }), { maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(chunkLists, async (lists) => {
        const file = await writeSegment(lists);
        const { rows, parts } = await findVectors(path, VECTOR_FIELD.fieldId);
        expect(rows).toBe(lists.flat().length);
        const bytes = Buffer.concat(parts.map(({ offset, bytes }) => file.subarray(offset, offset + bytes)));
        const found = new Float32Array(new Uint8Array(bytes).buffer);
        expect([...found]).toEqual(lists.flat().flatMap((row) => row[VECTOR_FIELD.fieldId] as number[]));
        for (const fieldId of PACKED_FIELD_IDS) {
          const found = await findVectors(path, fieldId);
          const rowBytes = bytesIn(file, found) / Math.max(1, lists.flat().length);
          const present = await presentVectors(path, found, rowBytes, join(dir, "present"));
          const given = lists.flat().flatMap((row) => (row[fieldId] === null ? [] : [row[fieldId] as number[]]));
          expect(present.rows).toBe(given.length);
          const held = readFileSync(present.path);
          const bytes = Buffer.concat(present.parts.map(({ offset, bytes }) => held.subarray(offset, offset + bytes)));
          expect([...bytes]).toEqual(given.flat());
        }
      }),
      { numRuns: 40 },
    );
  });

  it("finds nothing of a field that the file does not have", async () => {
    await writeSegment([[{ 100: 5n, 101: [1, 2, 3] }]]);
    const found = await findVectors(path, 999);
    expect(found).toEqual({ rows: 1, parts: [], valid: [] });
    expect(await presentVectors(path, found, 12, join(dir, "none"))).toEqual({ rows: 0, path, parts: [] });
  });

  it("refuses a field without vectors, and a file that is damaged or absent", async () => {
    const rows = [{ 100: 5n, 101: [1, 2, 3], 108: 0.5, 109: "é" }];
    const file = await writeSegment([rows]);
    await expect(findVectors(path, KEY_FIELD.fieldId)).rejects.toMatchObject({ kind: "corrupt" });
    for (const size of [0, 7, 12, 200]) {
      writeFileSync(path, file.subarray(0, size));
      await expect(findVectors(path, VECTOR_FIELD.fieldId)).rejects.toMatchObject({ kind: "corrupt" });
    }
    writeFileSync(path, Buffer.concat([file.subarray(0, 8), Buffer.alloc(64, 1)]));
    await expect(findVectors(path, VECTOR_FIELD.fieldId)).rejects.toMatchObject({ kind: "corrupt" });
    await expect(findVectors(join(dir, "absent"), VECTOR_FIELD.fieldId)).rejects.toMatchObject({ kind: "corrupt" });
  });
});
