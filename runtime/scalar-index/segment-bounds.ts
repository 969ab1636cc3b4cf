/**
 * The least and greatest values of some fields of a segment: collected as it is written, kept in the manifest, and used when a
 * read is planned, so that segments where nothing can match are not asked.
 */
import type { Clock } from "../clock.ts";
import { patternOf } from "../expr/like.ts";
import type { CompareNode, InNode, LikeNode, PlanNode } from "../expr/plan-node.ts";
import { nullRows } from "../expr/row-view.ts";
import type { FieldSchema } from "../schema.ts";
import { hasBit } from "../segment/bitset.ts";
import type { BytesColumn, ColumnBatch, ScalarColumn } from "../segment/column.ts";
import type { Chunk } from "../segment/segment.ts";
import { takeTurn } from "../turns.ts";
import { ANYTHING, ONLY_FALSE, ONLY_TRUE, type Possible, possible } from "./possible.ts";
import { zoneVerdict } from "./zone-map.ts";

/** The bounds of one field. Without least and greatest: all rows are null. */
export interface Bounds {
  /** Numbers, also of Int64 (rounded, which never carries one past a safe integer), or the first characters of texts. */
  min?: number | string | undefined;
  max?: number | string | undefined;
  /** The greatest text is longer than `max`. */
  isMaxCut?: boolean | undefined;
  nulls: number;
}

/** By field id. A missing field may hold anything. */
export type SegmentBounds = Record<string, Bounds>;

/** A manifest is read as a whole, so its part about each segment stays small. */
const FIELDS_MAX = 8;
const TEXT_CHARS_MAX = 16;

/** For a clustering key: segments are laid out by it, and its texts often begin alike. */
const KEY_CHARS_MAX = 64;

const NUMERIC = ["Int8", "Int16", "Int32", "Int64", "Float", "Double", "Timestamptz"];

/** Collects the bounds of the rows that it gets. */
export class BoundsCollector {
  readonly #fields: FieldSchema[];
  readonly #bounds: SegmentBounds = {};
  readonly #left = new Set<number>();

  constructor(fields: readonly FieldSchema[]) {
    const rank = (field: FieldSchema) =>
      field.isPrimary || field.isPartitionKey || field.isClusteringKey
        ? 0
        : field.type === "Timestamptz"
          ? 1
          : NUMERIC.includes(field.type)
            ? 2
            : 3;
    this.#fields = fields
      .filter(({ type }) => NUMERIC.includes(type) || type === "VarChar")
      .sort((a, b) => rank(a) - rank(b))
      .slice(0, FIELDS_MAX);
  }

  /** Adds a chunk: takes well below a millisecond per field. */
  add({ rowCount, columns }: ColumnBatch): void {
    for (const { fieldId, type, isClusteringKey } of this.#fields) {
      const column = columns[fieldId] as ScalarColumn | undefined;
      // Rows from before the field was added: the schema tells their value.
      if (column === undefined) this.#left.add(fieldId);
      else if (type === "VarChar") {
        const charsMax = isClusteringKey === true ? KEY_CHARS_MAX : TEXT_CHARS_MAX;
        this.#merge(fieldId, textBounds(column as BytesColumn, rowCount, charsMax));
      } else this.#merge(fieldId, numberBounds(column, rowCount));
    }
  }

  result(): SegmentBounds {
    return Object.fromEntries(Object.entries(this.#bounds).filter(([fieldId]) => !this.#left.has(Number(fieldId))));
  }

  #merge(fieldId: number, other: Bounds): void {
    const known = this.#bounds[fieldId];
    if (known === undefined) {
      this.#bounds[fieldId] = other;
      return;
    }
    known.nulls += other.nulls;
    if (other.min === undefined || other.max === undefined) return;
    if (known.min === undefined || isLess(other.min, known.min)) known.min = other.min;
    if (known.max === undefined || isLess(known.max, other.max)) {
      known.max = other.max;
      known.isMaxCut = other.isMaxCut === true;
    } else if (known.max === other.max && other.isMaxCut === true) known.isMaxCut = true;
  }
}

/** The bounds of all rows of a segment. */
export async function boundsOf(
  fields: readonly FieldSchema[],
  chunks: readonly Chunk[],
  clock: Clock,
): Promise<SegmentBounds> {
  const collector = new BoundsCollector(fields);
  for (const { batch } of chunks) {
    await takeTurn(clock);
    collector.add(batch);
  }
  return collector.result();
}

/** Half characters (lone surrogates), which JSON can express, are stored as another character. */
function asStored(text: string): string {
  return Buffer.from(text).toString("utf8");
}

/** Texts by code point, as filters have it. */
function isLess(a: number | string, b: number | string): boolean {
  if (typeof a === "number" || typeof b === "number") return a < b;
  return Buffer.compare(Buffer.from(a), Buffer.from(b)) < 0;
}

function numberBounds(column: ScalarColumn, rowCount: number): Bounds {
  const { values } = column as Exclude<ScalarColumn, BytesColumn>;
  const nulls = nullRows(column, rowCount);
  let min: number | bigint | undefined;
  let max: number | bigint | undefined;
  let nullCount = 0;
  for (let row = 0; row < rowCount; row++) {
    if (nulls !== undefined && hasBit(nulls, row)) {
      nullCount++;
      continue;
    }
    const value = values[row]!;
    if (min === undefined || value < min) min = value;
    if (max === undefined || value > max) max = value;
  }
  return min === undefined ? { nulls: nullCount } : { min: Number(min), max: Number(max), nulls: nullCount };
}

function textBounds(column: BytesColumn, rowCount: number, charsMax: number): Bounds {
  const { offsets, bytes } = column;
  const nulls = nullRows(column, rowCount);
  const text = (row: number) => bytes.subarray(offsets[row]!, offsets[row + 1]!);
  let least = -1;
  let greatest = -1;
  let nullCount = 0;
  for (let row = 0; row < rowCount; row++) {
    if (nulls !== undefined && hasBit(nulls, row)) {
      nullCount++;
      continue;
    }
    if (least < 0 || Buffer.compare(text(row), text(least)) < 0) least = row;
    if (greatest < 0 || Buffer.compare(text(row), text(greatest)) > 0) greatest = row;
  }
  if (least < 0) return { nulls: nullCount };
  const min = cut(text(least), charsMax);
  const max = cut(text(greatest), charsMax);
  return { min: min.text, max: max.text, ...(max.isCut ? { isMaxCut: true } : {}), nulls: nullCount };
}

function cut(bytes: Uint8Array, charsMax: number): { text: string; isCut: boolean } {
  const characters = [...Buffer.from(bytes.subarray(0, 4 * (charsMax + 1))).toString("utf8")];
  const isCut = characters.length > charsMax;
  return { text: characters.slice(0, charsMax).join(""), isCut };
}

/** Whether a row of the segment may match; true if the bounds do not tell. */
export function mayMatch(root: PlanNode, bounds: SegmentBounds | undefined): boolean {
  return bounds === undefined || possible(root, (leaf) => ofLeaf(leaf, bounds)).isTrue;
}

function ofLeaf(node: PlanNode, bounds: SegmentBounds): Possible {
  switch (node.op) {
    case "isNull": {
      const known = bounds[node.fieldId];
      return known === undefined ? ANYTHING : { isTrue: known.nulls > 0, isFalse: known.min !== undefined };
    }
    case "compare":
    case "in":
    case "like": {
      const known = node.operand.from === "column" ? bounds[node.operand.fieldId] : undefined;
      return known === undefined ? ANYTHING : ofBounds(node, known);
    }
    default:
      return ANYTHING;
  }
}

function ofBounds(node: CompareNode | InNode | LikeNode, { min, max, isMaxCut }: Bounds): Possible {
  // All rows are unknown.
  if (min === undefined || max === undefined) return { isTrue: false, isFalse: false };
  if (typeof min === "string" || typeof max === "string") {
    return canBeText(node, String(min), String(max), isMaxCut === true) ? ANYTHING : ONLY_FALSE;
  }
  const verdict = node.op === "like" ? undefined : zoneVerdict(node, { min, max, unknown: undefined });
  return verdict === undefined ? ANYTHING : verdict ? ONLY_TRUE : ONLY_FALSE;
}

/** Whether a text from `min` to `max` may pass. */
function canBeText(node: CompareNode | InNode | LikeNode, min: string, max: string, isMaxCut: boolean): boolean {
  const isBelow = (text: string) => isLess(text, min);
  const isAbove = (text: string) => isLess(max, text) && !(isMaxCut && asStored(text).startsWith(max));
  switch (node.op) {
    case "in":
      return node.values.some((value) => !isBelow(String(value)) && !isAbove(String(value)));
    case "like": {
      const pattern = patternOf(node);
      if (pattern.kind !== "prefix" && pattern.kind !== "equal") return true;
      const text = Buffer.from(pattern.bytes).toString("utf8");
      // A prefix is below what begins with it.
      return !isAbove(text) && !(isBelow(text) && !(pattern.kind === "prefix" && min.startsWith(text)));
    }
    case "compare": {
      const value = String(node.value);
      if (node.comparison === "==") return !isBelow(value) && !isAbove(value);
      if (node.comparison === "<") return isLess(min, value);
      if (node.comparison === "<=") return !isBelow(value);
      if (node.comparison === ">") return isMaxCut ? !isAbove(value) : isLess(value, max);
      if (node.comparison === ">=") return !isAbove(value);
      return true;
    }
  }
}
