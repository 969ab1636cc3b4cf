import { describe, expect, it } from "vitest";
import { isVdbError } from "../errors.ts";
import type { Aggregation } from "../protocol/values.ts";
import { keysOf } from "../segment/keys.ts";
import { systemClock } from "../system-clock.ts";
import { mergeAnswers } from "./merge-answers.ts";

const rows = {
  keys: keysOf("int64", [1, 2]),
  timestamps: BigInt64Array.from([1n, 2n]),
  batch: { rowCount: 2, columns: { 101: { kind: "int32" as const, values: Int32Array.from([5, 9]) } } },
};
const order = [{ fieldId: 101, isDescending: false }];
const aggregation: Aggregation = { groupBy: [], functions: [{ op: "count" }] };
const unavailable = expect.toSatisfy((error) => isVdbError(error, "unavailable")) as unknown;

describe("the answers of nodes of an older version", () => {
  it("are refused in an order: their rows are the first by key", async () => {
    const asked = { fieldIds: [101], limit: 2, order };
    const parts = [
      { count: 2, rows, isOrdered: true },
      { count: 2, rows },
    ];
    await expect(mergeAnswers(parts, asked, systemClock)).rejects.toEqual(unavailable);
    expect(await mergeAnswers(parts.slice(0, 1), asked, systemClock)).toMatchObject({ count: 2, isOrdered: true });
  });

  it("are refused in an aggregation: they have no groups", async () => {
    const part = { count: 2, rows };
    await expect(mergeAnswers([part], { fieldIds: [], limit: null, aggregation }, systemClock)).rejects.toEqual(
      unavailable,
    );
  });

  it("are good where none has rows", async () => {
    const asked = { fieldIds: [101], limit: 2, order };
    expect(await mergeAnswers([{ count: 0, rows: null }], asked, systemClock)).toEqual({ count: 0, rows: null });
  });
});
