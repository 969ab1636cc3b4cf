import fc from "fast-check";
import { expect, test } from "vitest";
import { fullBitset, hasBit } from "../segment/bitset.ts";
import type { BytesColumn } from "../segment/column.ts";
import { systemClock } from "../system-clock.ts";
import { batchOf } from "./filter-fixture.ts";
import { matchTokens, prepareMatch } from "./match-rows.ts";
import type { MatchNode } from "./plan-node.ts";
import { extendTokens, newTokenColumn } from "./token-column.ts";

const BODY = 117;

function tokensOf(texts: string[]) {
  const tokens = newTokenColumn();
  const batch = batchOf(texts.map((body, id) => ({ id: BigInt(id), body })));
  extendTokens(tokens, batch.columns[BODY] as BytesColumn, undefined, texts.length);
  return tokens;
}

function phrase(words: string[], slop: number): MatchNode {
  const operand = { from: "column", fieldId: BODY, type: "VarChar" } as const;
  return { op: "match", operand, text: words.join(" "), slop };
}

/** Whether each word can be put in its place by moving none more than `slop` further than another. */
function naive(words: string[], text: string[], slop: number): boolean {
  if (words.some((word) => count(text, word) < count(words, word))) return false;
  const starts = Array.from({ length: text.length + words.length + slop }, (_, i) => i - words.length - slop);
  return starts.some((start) =>
    words.every((word, i) => text.some((each, at) => each === word && at - i >= start && at - i <= start + slop)),
  );
}

const count = (list: string[], word: string) => list.filter((each) => each === word).length;

test("a phrase is found wherever its words are close enough, in texts that repeat them as well", () => {
  const word = fc.constantFrom("a1", "b2", "c3");
  const words = (min: number, max: number) => fc.array(word, { minLength: min, maxLength: max });
  fc.assert(
    fc.property(words(1, 30), words(0, 120), fc.integer({ min: 0, max: 40 }), (wanted, text, slop) => {
      const bits = matchTokens(phrase(wanted, slop), tokensOf([text.join(" ")]), fullBitset(1), 1);
      expect(hasBit(bits, 0)).toBe(naive(wanted, text, slop));
    }),
    { numRuns: 400 },
  );
});

test("a phrase of a thousand words that all come ten thousand times is looked for once", async () => {
  const words = Array.from({ length: 1_000 }, (_, i) => (i % 2 === 0 ? "a1" : "b2"));
  const rows = [Array(3_000).fill("a1 a1 b2"), [...Array(3_000).fill("b2 a1 a1"), ...words]].map((row) =>
    row.join(" "),
  );
  const tokens = tokensOf(rows);
  const node = phrase(words, 0);
  await prepareMatch(node, tokens, rows.length, systemClock);
  const bits = matchTokens(node, tokens, fullBitset(rows.length), rows.length);
  expect([hasBit(bits, 0), hasBit(bits, 1)]).toEqual([false, true]);
  expect(hasBit(matchTokens(node, tokens, fullBitset(1), 1), 0)).toBe(false);
});
