/** What was written once stays readable: by every later version, as what it was. */
import { existsSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { OPERATIONS } from "../../runtime/log/record.ts";
import { KEY_KINDS } from "../../runtime/protocol/catalog.ts";
import { GOLDEN_FOLDER, goldenFiles, goldenPath } from "./files.ts";
import { FORMATS, versionOf } from "./formats.ts";
import { plain } from "./plain.ts";

const HOW = "`npm run golden` adds what is missing (see test/golden/write.ts)";

describe.each(FORMATS)("$name", (format) => {
  const { name, samples, read } = format;
  test.each(goldenFiles(name))(
    "$sample of version $version reads as what it was",
    async ({ sample, bytes, expected }) => {
      const known = Object.keys(samples).find((each) => each.replaceAll(/[{}]/g, "") === sample) ?? sample;
      // Later versions may add fields with defaults, never lose one.
      expect(plain(await read(bytes, known))).toMatchObject(expected as object);
    },
  );

  test("has a file of every sample in today's version", () => {
    const missing = Object.keys(samples).filter(
      (sample) => !existsSync(`${goldenPath(name, sample, versionOf(format, sample))}.bin`),
    );
    expect(missing, HOW).toEqual([]);
  });
});

test("every kind of document and every operation of the log has a golden file", () => {
  const kinds = new Set(goldenFiles("document").map(({ sample }) => sample.split(".")[0]));
  expect(
    Object.keys(KEY_KINDS).filter((kind) => !kinds.has(kind)),
    HOW,
  ).toEqual([]);
  const operations = new Set(goldenFiles("log-record").map(({ sample }) => sample));
  expect(
    OPERATIONS.filter((operation) => !operations.has(operation)),
    HOW,
  ).toEqual([]);
  expect(existsSync(GOLDEN_FOLDER)).toBe(true);
});

test("a log record is written today as it was, byte by byte: another form needs another version", async () => {
  const format = FORMATS.find(({ name }) => name === "log-record")!;
  const today = goldenFiles(format.name).filter(({ sample, version }) => version === versionOf(format, sample));
  for (const { sample, bytes } of today) {
    expect(Buffer.from(await format.samples[sample]!()), sample).toEqual(Buffer.from(bytes));
  }
});
