/** The least and the greatest number of a column that does not change any more: many comparisons need no look at its rows. */
import type { CompareNode, InNode } from "../expr/plan-node.ts";
import { type NumberView, nullRows, viewColumn } from "../expr/row-view.ts";
import type { Bitset } from "../segment/bitset.ts";
import type { ScalarColumn } from "../segment/column.ts";

export interface Zone {
  /** Int64 beyond 2^53 is rounded, which never moves it past a safe integer. */
  readonly min: number;
  readonly max: number;
  readonly unknown: Bitset | undefined;
}

const zones = new WeakMap<ScalarColumn, Zone>();

/** Undefined for texts, and for no rows. */
export function zoneOf(column: ScalarColumn, rowCount: number): Zone | undefined {
  if (column.kind === "varchar" || column.kind === "json" || column.kind === "sparseVector" || rowCount === 0) {
    return undefined;
  }
  let zone = zones.get(column);
  if (zone === undefined) {
    zone = {
      ...boundsOf((viewColumn(column, rowCount) as NumberView).values, rowCount),
      unknown: nullRows(column, rowCount),
    };
    zones.set(column, zone);
  }
  return zone;
}

/** Rows without a value hold zero, which counts: a zone may be larger than necessary, never smaller. */
function boundsOf(values: Float64Array, rowCount: number): { min: number; max: number } {
  let min = values[0]!;
  let max = min;
  for (let r = 1; r < rowCount; r++) {
    const value = values[r]!;
    if (value < min) min = value;
    else if (value > max) max = value;
  }
  return { min, max };
}

/** The result for every row with a value; undefined: the rows differ, or the zone does not tell. */
export function zoneVerdict(node: CompareNode | InNode, { min, max }: Zone): boolean | undefined {
  if (node.op === "in") {
    const isOutside = node.values.every((value) => isExact(value) && (Number(value) < min || Number(value) > max));
    return isOutside ? false : undefined;
  }
  if (node.arithmetic !== undefined || node.interval !== undefined || !isExact(node.value)) return undefined;
  const value = Number(node.value);
  switch (node.comparison) {
    case "==":
      return equalVerdict(value, min, max);
    case "!=": {
      const isEqual = equalVerdict(value, min, max);
      return isEqual === undefined ? undefined : !isEqual;
    }
    case "<":
      return orderVerdict(max < value, min >= value);
    case "<=":
      return orderVerdict(max <= value, min > value);
    case ">":
      return orderVerdict(min > value, max <= value);
    case ">=":
      return orderVerdict(min >= value, max < value);
  }
}

/** A constant that doubles hold exactly; larger integers are compared exactly, which a zone cannot do. */
function isExact(value: unknown): boolean {
  return (
    typeof value === "boolean" ||
    (typeof value === "number" && (!Number.isInteger(value) || Number.isSafeInteger(value)))
  );
}

function equalVerdict(value: number, min: number, max: number): boolean | undefined {
  if (value < min || value > max) return false;
  return min === max ? true : undefined;
}

function orderVerdict(isAll: boolean, isNone: boolean): boolean | undefined {
  return isAll ? true : isNone ? false : undefined;
}
