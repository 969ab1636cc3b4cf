/** Finds the rows whose arrays hold all, or any, of some values. Each element is looked at once, however many values there are. */
import type { Scalar } from "../schema.ts";
import { type Bitset, newBitset, setBit } from "../segment/bitset.ts";
import { type KeySet, newKeySet, newTextSet, pairsOfConstants, slotOf, type TextSet, textAt } from "./key-set.ts";
import type { ValueType } from "./plan-node.ts";
import { keyPairs, type RowView } from "./row-view.ts";

/** The different values, numbered from 0, and how many of them must be present. */
export type WantedItems = { count: number; needed: number } & (
  | { kind: "numbers"; keys: KeySet; numbers: Uint32Array }
  | { kind: "text"; texts: TextSet }
);

export function wantedItems(mode: "all" | "any", type: ValueType, values: readonly Scalar[]): WantedItems {
  if (type === "VarChar") {
    const texts = newTextSet(values.map(String));
    const count = texts.hashes.length;
    return { kind: "text", texts, count, needed: mode === "all" ? count : 1 };
  }
  const keys = newKeySet(pairsOfConstants(type, values));
  const numbers = new Uint32Array(keys.used.length);
  let count = 0;
  for (const value of values) {
    const pairs = pairsOfConstants(type, [value]);
    const slot = slotOf(keys, pairs[0]!, pairs[1]!);
    if (numbers[slot] !== 0) continue;
    count++;
    // Zero has two keys.
    for (let at = 0; at < pairs.length; at += 2) numbers[slotOf(keys, pairs[at]!, pairs[at + 1]!)] = count;
  }
  const ofSlots = numbers.map((number) => number - 1);
  return { kind: "numbers", keys, numbers: ofSlots, count, needed: mode === "all" ? count : 1 };
}

/** @param items elements of all rows: those of row r are from offsets[r] to before offsets[r + 1] */
export function rowsHolding(wanted: WantedItems, items: RowView, offsets: Uint32Array, candidates: Bitset): Bitset {
  const bits = newBitset(32 * candidates.length);
  /** By number of a value: the last row seen to hold it, counted from 1. */
  const seen = new Uint32Array(wanted.count);
  const numberAt = readerOf(wanted, items);
  for (let w = 0; w < candidates.length; w++) {
    for (let open = candidates[w]!; open !== 0; open &= open - 1) {
      const row = (w << 5) + 31 - Math.clz32(open & -open);
      const end = offsets[row + 1]!;
      let missing = wanted.needed;
      for (let item = offsets[row]!; missing > 0 && end - item >= missing; item++) {
        const number = numberAt(item);
        if (number < 0 || seen[number] === row + 1) continue;
        seen[number] = row + 1;
        missing--;
      }
      if (missing === 0) setBit(bits, row);
    }
  }
  return bits;
}

/** Returns which of the wanted values an element is; -1: none. */
function readerOf(wanted: WantedItems, items: RowView): (item: number) => number {
  if (wanted.kind === "text") {
    if (items.kind !== "text") throw new Error("texts are sought among numbers");
    const { offsets, bytes } = items;
    return (item) => textAt(wanted.texts, bytes, offsets[item]!, offsets[item + 1]!);
  }
  if (items.kind === "text") throw new Error("numbers are sought among texts");
  const pairs = keyPairs(items);
  const { keys, numbers } = wanted;
  return (item) => {
    const slot = slotOf(keys, pairs[2 * item]!, pairs[2 * item + 1]!);
    return slot < 0 ? -1 : numbers[slot]!;
  };
}
