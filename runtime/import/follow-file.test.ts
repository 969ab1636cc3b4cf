/** Files that one side writes and the other reads meanwhile. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { FieldSchema } from "../schema.ts";
import { readSegmentFile } from "../segment/arrow-file.ts";
import { FollowedFile } from "./follow-file.ts";
import { GrowingFile } from "./growing-file.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "vdb-follow-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const ID: FieldSchema = {
  ...{ fieldId: 100, name: "id", type: "Int64", description: "" },
  ...{ isPrimary: true, nullable: false, isDynamic: false },
};

const chunkOf = (ids: bigint[]) => ({
  batch: { rowCount: ids.length, columns: { 100: { kind: "int64" as const, values: BigInt64Array.from(ids) } } },
  timestamps: new BigInt64Array(ids.length).fill(7n),
});

async function take(content: AsyncIterator<Uint8Array>, bytes: number): Promise<Uint8Array[]> {
  const parts: Uint8Array[] = [];
  for (let left = bytes; left > 0; ) {
    const { value } = await content.next();
    parts.push(Uint8Array.from(value as Uint8Array));
    left -= (value as Uint8Array).length;
  }
  return parts;
}

it("what is read while a segment grows is the whole of it in the end", async () => {
  const file = await GrowingFile.create(join(folder, "a.arrow"), [ID]);
  const followed = new FollowedFile(file.path);
  const content = followed[Symbol.asyncIterator]();
  await file.write(chunkOf([1n, 2n]));
  followed.grow(file.bytes);
  const parts = await take(content, file.bytes);
  const before = file.bytes;
  const next = content.next();
  await file.write(chunkOf([3n]));
  await file.end();
  followed.grow(file.bytes);
  followed.end();
  const { value } = await next;
  parts.push(Uint8Array.from(value as Uint8Array));
  parts.push(...(await take(content, file.bytes - before - (value as Uint8Array).length)));
  expect(await content.next()).toEqual({ done: true, value: undefined });
  expect(file.rowCount).toBe(3);
  const chunks = readSegmentFile(new Uint8Array(Buffer.concat(parts)));
  expect(chunks.map(({ batch }) => batch.columns[100])).toEqual([
    { kind: "int64", values: BigInt64Array.of(1n, 2n) },
    { kind: "int64", values: BigInt64Array.of(3n) },
  ]);
});

it("a file that will not be whole fails for who reads it and for who waits for it", async () => {
  const file = await GrowingFile.create(join(folder, "b.arrow"), [ID]);
  await file.write(chunkOf([1n]));
  const followed = new FollowedFile(file.path);
  followed.grow(file.bytes);
  const content = followed[Symbol.asyncIterator]();
  await take(content, file.bytes);
  const both = Promise.allSettled([content.next(), followed.whole()]);
  followed.fail(new Error("gone"));
  expect((await both).map((outcome) => (outcome as PromiseRejectedResult).reason as Error)).toEqual([
    new Error("gone"),
    new Error("gone"),
  ]);
  await file.close();
});
