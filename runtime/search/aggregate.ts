/**
 * Aggregation: rows into groups of equal values, with counts, sums and extremes. The same table takes the rows of a segment and
 * the groups of other tables, so every step (segment, query node, delegator, proxy) uses it.
 *
 * Each row that a read may see counts, also if a key was inserted twice, as in `count(*)`.
 */
import type { Clock } from "../clock.ts";
import { VdbError } from "../errors.ts";
import type { Aggregation, Groups, RowValue } from "../protocol/values.ts";
import type { ColumnBatch } from "../segment/column.ts";
import { takeTurn } from "../turns.ts";
import { compareValues, valueReader } from "./row-values.ts";

/** Most groups of one answer: each takes some 100 bytes at every node on the way. */
export const GROUPS_MAX = 100_000;

/** Rows between two turns: a row takes a microsecond or two, more when it is a long document. */
const SLICE_ROWS = 256;

/** Codes of a group and of a value make one number: 2^26 of each stay exact. */
const CODES_MAX = 2 ** 26;

export class GroupTable {
  readonly #aggregation: Aggregation;
  /** For each field of groupBy: codes of its values, and a map from (code of the fields before, code of the value) to one code. */
  readonly #levels: { codes: Map<RowValue, number>; steps: Map<number, number>; values: RowValue[] }[];
  /** The values of each group. */
  readonly #keys: RowValue[][];
  readonly #counts: number[][];
  readonly #values: RowValue[][];
  #groupCount = 0;

  constructor(aggregation: Aggregation) {
    this.#aggregation = aggregation;
    this.#levels = aggregation.groupBy.map(() => ({ codes: new Map(), steps: new Map(), values: [] }));
    this.#keys = aggregation.groupBy.map(() => []);
    this.#counts = aggregation.functions.map(() => []);
    this.#values = aggregation.functions.map(() => []);
    // Without groupBy all rows form one group, even when there are none.
    if (this.#levels.length === 0) this.#addGroup([]);
  }

  /** @throws VdbError parameter_too_large (more than GROUPS_MAX groups) */
  async addRows(batch: ColumnBatch, rows: Uint32Array, clock: Clock): Promise<void> {
    const { groupBy, functions } = this.#aggregation;
    const readKeys = groupBy.map((ref) => valueReader(batch, ref));
    const readValues = functions.map(({ of }) => (of === undefined ? undefined : valueReader(batch, of)));
    for (let start = 0; start < rows.length; start += SLICE_ROWS) {
      await takeTurn(clock);
      this.#addSlice(rows.subarray(start, start + SLICE_ROWS), readKeys, readValues);
    }
  }

  #addSlice(
    rows: Uint32Array,
    readKeys: readonly ((row: number) => RowValue)[],
    readValues: readonly (((row: number) => RowValue) | undefined)[],
  ): void {
    const groups = rows.map((row) => this.#groupOf(readKeys, row));
    this.#aggregation.functions.forEach(({ op }, f) => {
      const counts = this.#counts[f]!;
      const values = this.#values[f]!;
      const read = readValues[f];
      for (let i = 0; i < groups.length; i++) {
        const group = groups[i]!;
        const value = read?.(rows[i]!);
        if (value === null || (value !== undefined && op === "sum" && !isNumeric(value))) continue;
        counts[group] = counts[group]! + 1;
        if (value !== undefined && op !== "count") values[group] = combined(op, values[group]!, value);
      }
    });
  }

  /** @throws VdbError parameter_too_large */
  async addGroups({ keys, counts, values, groupCount }: Groups, clock: Clock): Promise<void> {
    const readKeys = keys.map((column) => (group: number) => column[group]!);
    for (let g = 0; g < groupCount; g++) {
      if (g % SLICE_ROWS === 0) await takeTurn(clock);
      const group = this.#groupOf(readKeys, g);
      this.#aggregation.functions.forEach(({ op }, f) => {
        this.#counts[f]![group] = this.#counts[f]![group]! + counts[f]![g]!;
        const value = values[f]![g]!;
        if (value !== null) this.#values[f]![group] = combined(op, this.#values[f]![group]!, value);
      });
    }
  }

  groups(): Groups {
    return {
      keys: this.#keys,
      counts: this.#counts.map((counts) => Float64Array.from(counts)),
      values: this.#values,
      groupCount: this.#groupCount,
    };
  }

  #groupOf(readKeys: readonly ((row: number) => RowValue)[], row: number): number {
    let group = 0;
    for (let k = 0; k < readKeys.length; k++) {
      const { codes, steps, values } = this.#levels[k]!;
      const value = readKeys[k]!(row);
      let code = codes.get(value);
      if (code === undefined) {
        code = values.push(value) - 1;
        codes.set(value, code);
      }
      const step = group * CODES_MAX + code;
      let next = steps.get(step);
      if (next === undefined) {
        next = steps.size;
        if (next >= GROUPS_MAX) throw tooMany();
        steps.set(step, next);
        if (k === readKeys.length - 1) this.#addGroup(readKeys.map((read) => read(row)));
      }
      group = next;
    }
    return group;
  }

  #addGroup(key: readonly RowValue[]): void {
    this.#groupCount++;
    key.forEach((value, k) => void this.#keys[k]!.push(value));
    for (const counts of this.#counts) counts.push(0);
    for (const values of this.#values) values.push(null);
  }
}

/** Merges the groups of several parts. */
export async function mergeGroups(aggregation: Aggregation, parts: readonly Groups[], clock: Clock): Promise<Groups> {
  const table = new GroupTable(aggregation);
  for (const part of parts) await table.addGroups(part, clock);
  return table.groups();
}

function isNumeric(value: RowValue): value is number | bigint {
  return typeof value === "number" || typeof value === "bigint";
}

function combined(op: "count" | "sum" | "min" | "max", a: RowValue, b: RowValue): RowValue {
  if (a === null) return b;
  if (op === "sum") return added(a as number | bigint, b as number | bigint);
  const isFirst = compareValues(a, b) <= 0;
  return isFirst === (op === "min") ? a : b;
}

const INT64_MAX = 2n ** 63n - 1n;

/** Whole numbers stay exact beyond 2^53, up to 64 bits. */
function added(a: number | bigint, b: number | bigint): number | bigint {
  if (typeof a === "number" && typeof b === "number") {
    const sum = a + b;
    if (Number.isSafeInteger(sum) || !Number.isInteger(a) || !Number.isInteger(b)) return sum;
  }
  // With a fraction, or a double too large for an exact whole number, the sum is a double.
  if ((typeof a === "number" && !Number.isSafeInteger(a)) || (typeof b === "number" && !Number.isSafeInteger(b))) {
    return Number(a) + Number(b);
  }
  const sum = BigInt(a) + BigInt(b);
  return sum > INT64_MAX || sum < -INT64_MAX ? Number(sum) : sum;
}

function tooMany(): VdbError {
  return new VdbError(
    "parameter_too_large",
    `more than ${GROUPS_MAX} groups: filter the rows, or group by fields with fewer values`,
  );
}
