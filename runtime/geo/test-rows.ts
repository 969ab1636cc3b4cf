/**
 * Finds the rows of a chunk whose geometry has the relation that a filter asks for: first by their boxes, then the points, then
 * the rest, whose geometries are parsed and related. In turns: a chunk of polygons may take a second.
 */
import { type Bitset, bitsetRows, hasBit, setBit } from "../segment/bitset.ts";
import type { BytesColumn } from "../segment/column.ts";
import { takeTurnFor, type Work } from "../turns.ts";
import { type BoxTree, visitRows } from "./box-tree.ts";
import { type GeometryCondition, type GeometryTest, geometryTest, pauseOf } from "./geometry-test.ts";
import { areRelatedInThread } from "./relate-thread.ts";
import { bufferOf, NO_POINTS, ONE_POINT, readBox } from "./row-boxes.ts";
import { loadTopology } from "./topology.ts";
import { isInWindow } from "./windows.ts";
import { flatWkt, readWktBytes, writeWkt } from "./wkt.ts";

/** Work between two turns, in bytes of text read: some tenths of a millisecond. */
const PIECE_BYTES = 16_384;

/** Comparing a point with a segment takes as long as reading this many bytes. */
const BYTES_A_LOOK = 2;

const tests = new WeakMap<GeometryCondition, GeometryTest>();

async function testOf(condition: GeometryCondition, work: Work): Promise<GeometryTest> {
  let test = tests.get(condition);
  if (test === undefined) {
    test = await geometryTest(condition, work);
    tests.set(condition, test);
  }
  return test;
}

/**
 * @param tree of the column's rows, if there is one; otherwise each box is read from its text
 * @param candidates rows that have a value
 * @throws VdbError invalid_parameter when two geometries cross too often to tell, or as takeTurnFor
 */
export async function testGeometries(
  condition: GeometryCondition,
  column: BytesColumn,
  tree: BoxTree | undefined,
  candidates: Bitset,
  work: Work,
): Promise<Bitset> {
  await takeTurnFor(work);
  const test = await testOf(condition, work);
  const bytes = bufferOf(column);
  const { offsets } = column;
  const { bits, open } =
    tree === undefined
      ? await readRows(test, bytes, offsets, candidates, work)
      : await searchRows(test, tree, candidates, work);
  const rows = bitsetRows(open);
  if (rows.length > 0 && test.needsTopology) await loadTopology();
  let done = PIECE_BYTES;
  for (const row of rows) {
    if (done >= PIECE_BYTES) {
      await takeTurnFor(work);
      done = 0;
    }
    const text = bytes.subarray(offsets[row]!, offsets[row + 1]!);
    // Relating takes about as long as reading the text a few times.
    done += 16 * text.length + condition.wkt.length;
    if (await testWhole(condition, test, text, work)) setBit(bits, row);
  }
  return bits;
}

interface Told {
  /** Rows that pass. */
  bits: Bitset;
  /** Rows that must be parsed. */
  open: Bitset;
}

async function searchRows(test: GeometryTest, tree: BoxTree, candidates: Bitset, work: Work): Promise<Told> {
  const { testPoint, windows, pointWork } = test;
  const bits = test.ofEmpty ? candidates.map((word, w) => word & tree.empty[w]!) : new Uint32Array(candidates.length);
  const open = new Uint32Array(candidates.length);
  const points: number[] = [];
  visitRows(tree, windows, (row, x, y) => {
    if (!hasBit(candidates, row)) return;
    if (testPoint === undefined || !hasBit(tree.onePoint, row)) setBit(open, row);
    else points.push(row, x, y);
  });
  let done = 0;
  for (let i = 0; i < points.length; i += 3) {
    if (done > PIECE_BYTES) {
      await takeTurnFor(work);
      done = 0;
    }
    done += BYTES_A_LOOK * pointWork;
    if (testPoint!(points[i + 1]!, points[i + 2]!)) setBit(bits, points[i]!);
  }
  return { bits, open };
}

async function readRows(
  test: GeometryTest,
  bytes: Buffer,
  offsets: Uint32Array,
  candidates: Bitset,
  work: Work,
): Promise<Told> {
  const { testPoint, windows, pointWork } = test;
  const bits = new Uint32Array(candidates.length);
  const open = new Uint32Array(candidates.length);
  const box = new Float64Array(4);
  let done = 0;
  for (const row of bitsetRows(candidates)) {
    if (done > PIECE_BYTES) {
      await takeTurnFor(work);
      done = 0;
    }
    const start = offsets[row]!;
    const end = offsets[row + 1]!;
    done += end - start;
    const kind = readBox(bytes, start, end, box);
    if (kind === NO_POINTS) {
      if (test.ofEmpty) setBit(bits, row);
      continue;
    }
    if (!windows.some((window) => isInWindow(window, box[0]!, box[1]!, box[2]!, box[3]!))) continue;
    if (kind !== ONE_POINT || testPoint === undefined) {
      setBit(open, row);
      continue;
    }
    done += BYTES_A_LOOK * pointWork;
    if (testPoint(box[0]!, box[1]!)) setBit(bits, row);
  }
  return { bits, open };
}

async function testWhole(condition: GeometryCondition, test: GeometryTest, text: Buffer, work: Work): Promise<boolean> {
  const pause = pauseOf(text.length, work);
  await pause?.();
  const wkt = readWktBytes(text, 0, text.length);
  // Columns hold checked text, or text that an earlier version accepted and this one does not.
  if (wkt === undefined) return false;
  await pause?.();
  const isTrue = await test.testRow(wkt, text.length, work);
  if (isTrue !== undefined) return isTrue;
  const flat = flatWkt(wkt);
  const row = flat === wkt ? text.toString("latin1") : writeWkt(flat);
  return areRelatedInThread({ relation: condition.relation!, row, other: test.flatText }, work);
}
