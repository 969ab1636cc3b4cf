/**
 * Which rows of a chunk have a geometry that lies as a filter asks: first by their boxes, then point by point, then, for what
 * is left, with the geometry read and related. In turns: a chunk of polygons may take a second.
 */
import type { Clock } from "../clock.ts";
import { type Bitset, bitsetRows, hasBit, setBit } from "../segment/bitset.ts";
import type { BytesColumn } from "../segment/column.ts";
import { takeTurn } from "../turns.ts";
import { type BoxTree, visitRows } from "./box-tree.ts";
import { type GeometryCondition, type GeometryTest, geometryTest } from "./geometry-test.ts";
import { areRelatedInThread } from "./relate-thread.ts";
import { bufferOf, NO_POINTS, ONE_POINT, readBox } from "./row-boxes.ts";
import { loadTopology } from "./topology.ts";
import { isInWindow } from "./windows.ts";
import { flatWkt, readWktBytes, writeWkt } from "./wkt.ts";

/** Between two turns: some tenths of a millisecond, in bytes of text that are read. */
const PIECE_BYTES = 16_384;

/** To compare a point with a segment takes as long as to read so many. */
const BYTES_A_LOOK = 2;

const tests = new WeakMap<GeometryCondition, GeometryTest>();

function testOf(condition: GeometryCondition): GeometryTest {
  let test = tests.get(condition);
  if (test === undefined) {
    test = geometryTest(condition);
    tests.set(condition, test);
  }
  return test;
}

/**
 * @param tree of the column's rows, where there is one; without it each box is read out of its text
 * @param candidates rows that have a value
 * @throws VdbError invalid_parameter when two geometries cross too often to tell
 */
export async function testGeometries(
  condition: GeometryCondition,
  column: BytesColumn,
  tree: BoxTree | undefined,
  candidates: Bitset,
  clock: Clock,
): Promise<Bitset> {
  await takeTurn(clock);
  const test = testOf(condition);
  const bytes = bufferOf(column);
  const { offsets } = column;
  const { bits, open } =
    tree === undefined
      ? await readRows(test, bytes, offsets, candidates, clock)
      : await searchRows(test, tree, candidates, clock);
  const rows = bitsetRows(open);
  if (rows.length > 0 && test.needsTopology) await loadTopology();
  let work = PIECE_BYTES;
  for (const row of rows) {
    if (work >= PIECE_BYTES) {
      await takeTurn(clock);
      work = 0;
    }
    const text = bytes.subarray(offsets[row]!, offsets[row + 1]!);
    // To relate takes about as long as to read the text some times.
    work += 16 * text.length + condition.wkt.length;
    if (await testWhole(condition, test, text, clock)) setBit(bits, row);
  }
  return bits;
}

interface Told {
  /** Rows that pass. */
  bits: Bitset;
  /** Rows that must be read whole. */
  open: Bitset;
}

async function searchRows(test: GeometryTest, tree: BoxTree, candidates: Bitset, clock: Clock): Promise<Told> {
  const { testPoint, windows, pointWork } = test;
  const bits = test.ofEmpty ? candidates.map((word, w) => word & tree.empty[w]!) : new Uint32Array(candidates.length);
  const open = new Uint32Array(candidates.length);
  const points: number[] = [];
  visitRows(tree, windows, (row, x, y) => {
    if (!hasBit(candidates, row)) return;
    if (testPoint === undefined || !hasBit(tree.onePoint, row)) setBit(open, row);
    else points.push(row, x, y);
  });
  let work = 0;
  for (let i = 0; i < points.length; i += 3) {
    if (work > PIECE_BYTES) {
      await takeTurn(clock);
      work = 0;
    }
    work += BYTES_A_LOOK * pointWork;
    if (testPoint!(points[i + 1]!, points[i + 2]!)) setBit(bits, points[i]!);
  }
  return { bits, open };
}

async function readRows(
  test: GeometryTest,
  bytes: Buffer,
  offsets: Uint32Array,
  candidates: Bitset,
  clock: Clock,
): Promise<Told> {
  const { testPoint, windows, pointWork } = test;
  const bits = new Uint32Array(candidates.length);
  const open = new Uint32Array(candidates.length);
  const box = new Float64Array(4);
  let work = 0;
  for (const row of bitsetRows(candidates)) {
    if (work > PIECE_BYTES) {
      await takeTurn(clock);
      work = 0;
    }
    const start = offsets[row]!;
    const end = offsets[row + 1]!;
    work += end - start;
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
    work += BYTES_A_LOOK * pointWork;
    if (testPoint(box[0]!, box[1]!)) setBit(bits, row);
  }
  return { bits, open };
}

async function testWhole(
  condition: GeometryCondition,
  test: GeometryTest,
  text: Buffer,
  clock: Clock,
): Promise<boolean> {
  const wkt = readWktBytes(text, 0, text.length);
  // Columns hold what has been checked, or what an earlier version took and this one does not.
  if (wkt === undefined) return false;
  const isTrue = test.testRow(wkt);
  if (isTrue !== undefined) return isTrue;
  const flat = flatWkt(wkt);
  const row = flat === wkt ? text.toString("latin1") : writeWkt(flat);
  return areRelatedInThread({ relation: condition.relation!, row, other: test.flatText }, clock);
}
