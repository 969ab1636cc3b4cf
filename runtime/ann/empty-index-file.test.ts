import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { emptyIndexFile } from "./empty-index-file.ts";
import { inspectIndexFile } from "./index-file.ts";

const dir = mkdtempSync(join(tmpdir(), "vdb-empty-index-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test.each([
  [
    { metric: "L2", dimension: 5 },
    { type: "FLAT", metric: "L2", dimension: 5, rows: 0, bytes: 45 },
  ],
  [
    { metric: "COSINE", dimension: 2 },
    { type: "FLAT", metric: "IP", dimension: 2, rows: 0, bytes: 45 },
  ],
  [
    { metric: "JACCARD", vectorType: "BinaryVector", dimension: 16 },
    { type: "BIN_FLAT", metric: "HAMMING", packed: "BinaryVector", dimension: 16, rows: 0, bytes: 33 },
  ],
] as const)("an index of no rows is an index file like others", async (of, info) => {
  const path = join(dir, "empty");
  writeFileSync(path, emptyIndexFile(of));
  expect(await inspectIndexFile(path)).toEqual(info);
});
