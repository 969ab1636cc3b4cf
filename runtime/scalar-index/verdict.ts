/**
 * The results of a filter's leaves for all rows of a chunk, where they are known without reading the rows: from the chunk's
 * zone (its least and greatest number), from a filter of its values, or from the segment's index of keys. A chunk in which no
 * row can match is then skipped.
 */
import type { Clock } from "../clock.ts";
import { compileOnce } from "../expr/compile-once.ts";
import type { FilterPlan } from "../expr/plan.ts";
import type { CompareNode, InNode, PlanNode } from "../expr/plan-node.ts";
import type { PrimaryKey, ScalarColumn } from "../segment/column.ts";
import { hashKey, type KeyColumn, keysOf } from "../segment/keys.ts";
import { CHUNK_ROWS, type Chunk, type Segment } from "../segment/segment.ts";
import { takeTurn } from "../turns.ts";
import { targetOf } from "./hints.ts";
import { ANYTHING, ONLY_FALSE, ONLY_TRUE, possible } from "./possible.ts";
import { cacheOf } from "./segment-cache.ts";
import { mayHold, newValueFilter } from "./value-filter.ts";
import { zoneOf, zoneVerdict } from "./zone-map.ts";

/** Of more values, probably one passes the filter by mistake. */
const VALUES_MAX = 64;

const LEAVES_MAX = 256;

/** With more keys than one for each so many rows, testing the rows is quicker. */
const KEYS_SOUGHT_PART = 16;

/** Keys looked up between two turns: some tenths of a millisecond. */
const PIECE_KEYS = 256;

/** A leaf that asks whether a column holds values: if the chunk has none of them, the result is known for all rows with a value. */
type ValuesNode = CompareNode | InNode;

/** `==`, `!=` or `in` on a plain column. */
function valuesNode(node: PlanNode): ValuesNode | undefined {
  if (node.op === "in") return node.operand.from === "column" ? node : undefined;
  if (node.op !== "compare" || node.operand.from !== "column") return undefined;
  if (node.arithmetic !== undefined || node.interval !== undefined) return undefined;
  return node.comparison === "==" || node.comparison === "!=" ? node : undefined;
}

/** The values that a leaf names, as a column of keys; null: its values have another type. */
const namedValues = compileOnce((node: ValuesNode): KeyColumn | null => {
  const values = node.op === "in" ? node.values : [node.value];
  if (node.operand.from !== "column") return null;
  switch (node.operand.type) {
    case "VarChar":
      return keysOf("varchar", values.map(String));
    case "Int64":
    case "Timestamptz":
      return values.every((value) => typeof value === "bigint" || Number.isInteger(value))
        ? keysOf("int64", values as PrimaryKey[])
        : null;
    default:
      return null;
  }
});

function valueCount(node: ValuesNode): number {
  return node.op === "in" ? node.values.length : 1;
}

const namedHashes = compileOnce((node: ValuesNode): Uint32Array | null => {
  const values = valueCount(node) > VALUES_MAX ? null : namedValues(node);
  return values === null ? null : Uint32Array.from({ length: valueCount(node) }, (_, i) => hashKey(values, i));
});

/** Whether the index of keys is used for the keys that a leaf names. */
function isOfKeys(node: ValuesNode, segment: Segment): boolean {
  const { operand } = node;
  return (
    operand.from === "column" &&
    operand.fieldId === segment.keyFieldId &&
    valueCount(node) * KEYS_SOUGHT_PART <= segment.rowCount &&
    namedValues(node)?.kind === segment.keyKind
  );
}

/** Rows of a segment that hold one of the keys that a leaf names. */
interface FoundKeys {
  /** That the segment had then. */
  readonly rowCount: number;
  readonly byChunk: ReadonlyMap<number, readonly number[]>;
}

const foundKeys = new WeakMap<PlanNode, WeakMap<Segment, FoundKeys>>();

/** For each chunk, the numbers of its rows in the segment. In turns. */
export async function rowsOfKeys(
  segment: Segment,
  keys: KeyColumn,
  count: number,
  clock: Clock,
): Promise<Map<number, number[]>> {
  const byChunk = new Map<number, number[]>();
  const found: number[] = [];
  for (let i = 0; i < count; i++) {
    if (i % PIECE_KEYS === 0) await takeTurn(clock);
    segment.findKey(keys, i, found);
    for (const row of found) {
      const chunk = row >>> 13;
      const rows = byChunk.get(chunk);
      if (rows === undefined) byChunk.set(chunk, [row]);
      else rows.push(row);
    }
  }
  return byChunk;
}

/** Rows of the chunk that hold a key that the leaf names; undefined: the index of keys was not used. */
export function chunkRowsOfKeys(segment: Segment, chunk: Chunk, node: PlanNode): readonly number[] | undefined {
  const found = foundKeys.get(node)?.get(segment);
  if (found === undefined || found.rowCount < chunk.firstRow + chunk.batch.rowCount) return undefined;
  return found.byChunk.get(chunk.firstRow >>> 13) ?? [];
}

/** The leaves of a plan that name values; null: there are so many leaves that asking about each costs more than it saves. */
const valuesNodes = compileOnce(({ root }: FilterPlan): { nodes: ValuesNode[] | null } => {
  const nodes: ValuesNode[] = [];
  let leaves = 0;
  const collect = (node: PlanNode): void => {
    if (node.op === "and" || node.op === "or") {
      for (const item of node.items) if (leaves <= LEAVES_MAX) collect(item);
    } else if (node.op === "not") collect(node.item);
    else {
      leaves++;
      const named = valuesNode(node);
      if (named !== undefined) nodes.push(named);
    }
  };
  collect(root);
  return { nodes: leaves > LEAVES_MAX ? null : nodes };
});

/** Prepares what verdicts need and takes long. Takes one turn or more. */
export async function prepareVerdicts(segment: Segment, chunk: Chunk, filter: FilterPlan, clock: Clock): Promise<void> {
  await takeTurn(clock);
  for (const node of valuesNodes(filter).nodes ?? []) {
    if (isOfKeys(node, segment)) await prepareKeys(segment, node, clock);
    else await prepareValueFilter(segment, chunk, filter, node, clock);
  }
}

async function prepareKeys(segment: Segment, node: ValuesNode, clock: Clock): Promise<void> {
  let bySegment = foundKeys.get(node);
  const { rowCount } = segment;
  if (bySegment?.get(segment)?.rowCount === rowCount) return;
  const byChunk = await rowsOfKeys(segment, namedValues(node)!, valueCount(node), clock);
  if (bySegment === undefined) {
    bySegment = new WeakMap();
    foundKeys.set(node, bySegment);
  }
  bySegment.set(segment, { rowCount, byChunk });
}

async function prepareValueFilter(
  segment: Segment,
  chunk: Chunk,
  filter: FilterPlan,
  node: ValuesNode,
  clock: Clock,
): Promise<void> {
  const cache = cacheOf(segment);
  if (cache.mayTake === null || namedHashes(node) === null) return;
  const { fieldId } = node.operand;
  const { columns, rowCount } = chunk.batch;
  const column = columns[fieldId] as ScalarColumn | undefined;
  const at = chunk.firstRow >>> 13;
  if (column?.kind !== "varchar" && column?.kind !== "int64") return;
  if (cache.valueFilter(at, fieldId, column) !== undefined || !cache.isAskedAgain(fieldId, filter)) return;
  // A scalar index has the answer; a zone may have it.
  if (targetOf(node, filter.indexes ?? []) !== undefined || zoneTells(node, column, rowCount)) return;
  await takeTurn(clock);
  const made = newValueFilter(column, rowCount);
  cache.keepValueFilter(at, fieldId, { column, filter: cache.mayTake(made.byteLength) ? made : null });
}

function zoneTells(node: ValuesNode, column: ScalarColumn, rowCount: number): boolean {
  const zone = zoneOf(column, rowCount);
  return zone !== undefined && zoneVerdict(node, zone) !== undefined;
}

/** The result of a leaf for every row of the chunk with a value; undefined: the rows differ, or it is not known. */
export function verdictOf(segment: Segment, chunk: Chunk, node: PlanNode): boolean | undefined {
  if (node.op !== "compare" && node.op !== "in") return undefined;
  if (node.operand.from !== "column") return undefined;
  const { batch } = chunk;
  const column = batch.columns[node.operand.fieldId] as ScalarColumn | undefined;
  if (column === undefined) return undefined;
  const ofNone = node.op === "compare" && node.comparison === "!=";
  if (chunkRowsOfKeys(segment, chunk, node)?.length === 0) return ofNone;
  const cache = cacheOf(segment);
  // Columns of a growing chunk are replaced with every append: what is computed from them would be used once.
  if (cache.mayTake === null && batch.rowCount !== CHUNK_ROWS) return undefined;
  const zone = zoneOf(column, batch.rowCount);
  const verdict = zone === undefined ? undefined : zoneVerdict(node, zone);
  if (verdict !== undefined || cache.mayTake === null) return verdict;
  const filter = cache.valueFilter(chunk.firstRow >>> 13, node.operand.fieldId, column);
  if (filter === undefined || filter === null || valuesNode(node) === undefined) return undefined;
  return namedHashes(node)?.some((hash) => mayHold(filter, hash)) === false ? ofNone : undefined;
}

/** Whether a row of the chunk may match; true if nothing tells. */
export function mayMatchChunk(segment: Segment, chunk: Chunk, filter: FilterPlan): boolean {
  if (valuesNodes(filter).nodes === null) return true;
  const ofLeaf = (leaf: PlanNode) => {
    const verdict = verdictOf(segment, chunk, leaf);
    return verdict === undefined ? ANYTHING : verdict ? ONLY_TRUE : ONLY_FALSE;
  };
  return possible(filter.root, ofLeaf).isTrue;
}
