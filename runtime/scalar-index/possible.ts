/** Which results a filter can have for a set of rows, derived from those of its leaves. */
import type { PlanNode } from "../expr/plan-node.ts";

/** Whether there may be rows for which a condition is true, and rows for which it is false. Says nothing about unknown ones. */
export interface Possible {
  readonly isTrue: boolean;
  readonly isFalse: boolean;
}

export const ANYTHING: Possible = { isTrue: true, isFalse: true };
export const ONLY_TRUE: Possible = { isTrue: true, isFalse: false };
export const ONLY_FALSE: Possible = { isTrue: false, isFalse: true };

/** @param ofLeaf gives the result of each node without items */
export function possible(node: PlanNode, ofLeaf: (leaf: PlanNode) => Possible): Possible {
  switch (node.op) {
    case "constant":
      return node.value ? ONLY_TRUE : ONLY_FALSE;
    case "not": {
      const { isTrue, isFalse } = possible(node.item, ofLeaf);
      return { isTrue: isFalse, isFalse: isTrue };
    }
    case "and": {
      let isTrue = true;
      let isFalse = false;
      for (const item of node.items) {
        const of = possible(item, ofLeaf);
        isTrue &&= of.isTrue;
        isFalse ||= of.isFalse;
      }
      return { isTrue, isFalse };
    }
    case "or": {
      let isTrue = false;
      let isFalse = true;
      for (const item of node.items) {
        const of = possible(item, ofLeaf);
        isTrue ||= of.isTrue;
        isFalse &&= of.isFalse;
      }
      return { isTrue, isFalse };
    }
    default:
      return ofLeaf(node);
  }
}
