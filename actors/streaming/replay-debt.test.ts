import fc from "fast-check";
import { expect, test } from "vitest";
import { ReplayDebt } from "./replay-debt.ts";

const LIMIT = 1 << 20;
const STEP = LIMIT / 256;
const costOf = (bytes: number, rows: number): number => bytes + rows * 48 + 6_144;

test("the debt is that of the messages behind the checkpoint, or a step more, whatever was paid when", () => {
  const message = fc.record({ bytes: fc.nat(20_000), rows: fc.nat(100), pay: fc.option(fc.nat(50)) });
  fc.assert(
    fc.property(fc.array(message, { maxLength: 200 }), (messages) => {
      const debt = new ReplayDebt(LIMIT);
      const costs: number[] = [];
      let paid = 0;
      for (const { bytes, rows, pay } of messages) {
        const cost = costOf(bytes, rows);
        costs.push(cost);
        debt.add(costs.length, bytes, rows);
        if (pay !== null) {
          paid = Math.max(paid, Math.min(costs.length, pay));
          debt.pay(pay);
        }
        const owed = costs.slice(paid).reduce((sum, c) => sum + c, 0);
        expect(debt.cost).toBeGreaterThanOrEqual(owed);
        expect(debt.cost).toBeLessThanOrEqual(owed + STEP + Math.max(0, ...costs));
      }
    }),
  );
});

test("what stands in the way of a smaller debt is told by its place in the log", () => {
  const debt = new ReplayDebt(LIMIT);
  for (let seq = 1; seq <= 100; seq++) debt.add(seq, 10_000, 10);
  const each = costOf(10_000, 10);
  expect(debt.cost).toBe(100 * each);
  expect(debt.seqToPay(40 * each)).toBe(60);
  debt.pay(60);
  expect(debt.cost).toBe(40 * each);
  debt.pay(100);
  expect(debt.cost).toBe(0);
  expect(debt.seqToPay(0)).toBe(100);
});

test("any number of small messages is remembered in little memory", () => {
  const debt = new ReplayDebt(LIMIT);
  for (let seq = 1; seq <= 100_000; seq++) {
    debt.add(seq, 10, 1);
    if (debt.cost > 2 * LIMIT) debt.pay(debt.seqToPay(LIMIT));
  }
  expect(debt.cost).toBeLessThanOrEqual(2 * LIMIT);
});
