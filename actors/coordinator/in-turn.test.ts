import { expect, test } from "vitest";
import { VdbError } from "../../runtime/errors.ts";
import { inTurn } from "./in-turn.ts";

/** Three steps, of which the second fails. What ran, what was thrown, what was said. */
async function runWith(error: Error) {
  const ran: string[] = [];
  const warned: unknown[] = [];
  const steps = {
    a: async () => void ran.push("a"),
    b: () => Promise.reject(error),
    c: async () => void ran.push("c"),
  };
  const thrown: unknown = await inTurn(steps, { warn: (fields: object) => void warned.push(fields) }).catch(
    (each: unknown) => each,
  );
  return { ran, warned, thrown };
}

test("a step that fails by itself keeps no other from its work, and is named", async () => {
  const { ran, warned, thrown } = await runWith(new VdbError("internal", "the document is too large"));
  expect({ ran, thrown }).toEqual({ ran: ["a", "c"], thrown: undefined });
  expect(warned).toEqual([{ step: "b", error: "the document is too large" }]);
});

test.each(["unavailable", "deadline_exceeded", "canceled"] as const)(
  "what is wrong with the stores ends the round: %s",
  async (kind) => {
    const error = new VdbError(kind, "no");
    expect(await runWith(error)).toEqual({ ran: ["a"], warned: [], thrown: error });
  },
);
