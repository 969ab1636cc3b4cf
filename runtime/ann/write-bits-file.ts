/** The index file of binary vectors: FAISS's flat one (layout: index-file.ts), which is the rows behind a few numbers. */
import { type FileHandle, open } from "node:fs/promises";
import type { BuildJob } from "./build-index-child.ts";

const HEADER_BYTES = 33;
const BLOCK_BYTES = 1 << 20;

export async function writeBitsFile({ dimension, rows, vectorsFile, vectorParts, outFile }: BuildJob): Promise<void> {
  const header = Buffer.alloc(HEADER_BYTES);
  header.write("IBxF", 0, "latin1");
  header.writeInt32LE(dimension, 4);
  header.writeInt32LE(dimension / 8, 8);
  header.writeBigInt64LE(BigInt(rows), 12);
  header.writeUInt8(1, 20);
  header.writeInt32LE(1, 21);
  header.writeBigUInt64LE(BigInt((rows * dimension) / 8), 25);
  const source = await open(vectorsFile, "r");
  try {
    const target = await open(outFile, "w");
    try {
      await target.write(header);
      for (const { offset, bytes } of vectorParts) await copyBytes(source, target, offset, bytes);
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
}

/** Appends a part of one file to another. */
async function copyBytes(source: FileHandle, target: FileHandle, offset: number, bytes: number): Promise<void> {
  const block = Buffer.alloc(Math.min(bytes, BLOCK_BYTES));
  for (let done = 0; done < bytes; ) {
    const { bytesRead } = await source.read(block, 0, Math.min(block.length, bytes - done), offset + done);
    if (bytesRead === 0) throw new Error("the vectors' file ends before its last row");
    await target.write(block, 0, bytesRead);
    done += bytesRead;
  }
}
