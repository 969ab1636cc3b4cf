/** An index without rows: FAISS's flat one (layout: index-file.ts), its binary form if the rows would be bits. */
import type { Metric } from "../schema.ts";
import type { DenseVectorType } from "./packed-vectors.ts";

const HEADER_BYTES = 37;
const BITS_HEADER_BYTES = 25;
/** How many elements follow. */
const COUNT_BYTES = 8;

export function emptyIndexFile(of: { metric: Metric; vectorType?: DenseVectorType; dimension: number }): Uint8Array {
  const { metric, vectorType, dimension } = of;
  if (vectorType === "BinaryVector") {
    const file = Buffer.alloc(BITS_HEADER_BYTES + COUNT_BYTES);
    file.write("IBxF", 0, "latin1");
    file.writeInt32LE(dimension, 4);
    file.writeInt32LE(dimension / 8, 8);
    file.writeUInt8(1, 20);
    file.writeInt32LE(1, 21);
    return new Uint8Array(file);
  }
  const file = Buffer.alloc(HEADER_BYTES + COUNT_BYTES);
  file.write(metric === "L2" ? "IxF2" : "IxFI", 0, "latin1");
  file.writeInt32LE(dimension, 4);
  file.writeUInt8(1, 32);
  file.writeInt32LE(metric === "L2" ? 1 : 0, 33);
  return new Uint8Array(file);
}
