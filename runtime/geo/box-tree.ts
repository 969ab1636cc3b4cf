/** The boxes of a chunk's geometries as a packed R-tree: geometries that lie elsewhere are not looked at. */
import Flatbush from "flatbush";
import type { Clock } from "../clock.ts";
import { type Bitset, newBitset, setBit } from "../segment/bitset.ts";
import type { BytesColumn } from "../segment/column.ts";
import { takeTurn } from "../turns.ts";
import { bufferOf, NO_POINTS, ONE_POINT, readBox } from "./row-boxes.ts";
import { isInWindow, type Window } from "./windows.ts";

export interface BoxTree {
  /** Undefined when no row has a point. */
  readonly tree: Flatbush | undefined;
  /** The row of each box in the tree. */
  readonly rows: Uint16Array;
  /** Rows that hold one POINT. */
  readonly onePoint: Bitset;
  /** Rows without points, also those without a value. */
  readonly empty: Bitset;
  readonly bytes: number;
}

/** Bytes of texts read in one turn: a millisecond or two. */
const PIECE_BYTES = 65_536;

/** At the end takes half a microsecond for each row, in one turn. */
export async function newBoxTree(column: BytesColumn, rowCount: number, clock: Clock): Promise<BoxTree> {
  const { offsets } = column;
  const bytes = bufferOf(column);
  const boxes = new Float64Array(4 * rowCount);
  const rows = new Uint16Array(rowCount);
  const onePoint = newBitset(rowCount);
  const empty = newBitset(rowCount);
  let count = 0;
  let turnEnd = 0;
  for (let row = 0; row < rowCount; row++) {
    if (offsets[row]! >= turnEnd) {
      await takeTurn(clock);
      turnEnd = offsets[row]! + PIECE_BYTES;
    }
    const kind = readBox(bytes, offsets[row]!, offsets[row + 1]!, boxes.subarray(4 * count, 4 * count + 4));
    if (kind === NO_POINTS) setBit(empty, row);
    else rows[count++] = row;
    if (kind === ONE_POINT) setBit(onePoint, row);
  }
  await takeTurn(clock);
  const tree = count === 0 ? undefined : treeOf(boxes, count);
  const used = rows.slice(0, count);
  const size = (tree?.data.byteLength ?? 0) + used.byteLength + onePoint.byteLength + empty.byteLength;
  return { tree, rows: used, onePoint, empty, bytes: size };
}

function treeOf(boxes: Float64Array, count: number): Flatbush {
  const tree = new Flatbush(count);
  for (let at = 0; at < 4 * count; at += 4) tree.add(boxes[at]!, boxes[at + 1]!, boxes[at + 2]!, boxes[at + 3]!);
  tree.finish();
  return tree;
}

/** Visits the rows whose boxes are in one of the windows, some of them repeatedly, with the least x and y. */
export function visitRows(
  { tree, rows }: BoxTree,
  windows: readonly Window[],
  visit: (row: number, x: number, y: number) => void,
): void {
  for (const window of windows) {
    // Boxes whose least x is not right of the window's greatest least x, and so on: all that the tree's search tests.
    tree?.search(window[4]!, window[6]!, window[1]!, window[3]!, (item, minX, minY, maxX, maxY) => {
      if (isInWindow(window, minX, minY, maxX, maxY)) visit(rows[item]!, minX, minY);
      return false;
    });
  }
}
