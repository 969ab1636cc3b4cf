import { describe, expect, it } from "vitest";
import { mismatch } from "./matches.ts";

describe("what a scenario expects", () => {
  it.each([
    ["is said of each item of a list that has none", [], { $each: { id: 1 } }],
    ["is text, and it is a number", 9007199254740993n, "9007199254740993"],
    ["is a number, and it is text", "9007199254740993", 9007199254740993n],
    ["is at most a number, and it is null", null, { $lte: 6 }],
    ["is part of a text that there is not", undefined, { $contains: "undefined" }],
    ["is anything else, and there is nothing", undefined, { $not: null }],
    ["is a key that is not there", { id: 1 }, { id: 1, name: "x" }],
    ["is exactly this, and there is more", { id: 1, name: "x" }, { $exactly: { id: 1 } }],
    ["is fewer items", [1, 2], [1]],
  ])("differs from what it %s", (_, actual, expected) => {
    expect(mismatch(actual, expected)).not.toBeNull();
  });

  it.each([
    ["the same number in another encoding", 5n, 5],
    ["fewer keys", { id: 1, name: "x" }, { id: 1 }],
    ["each item of a list", [{ id: 1 }], { $each: { id: { $gte: 1 } } }],
  ])("may be %s", (_, actual, expected) => {
    expect(mismatch(actual, expected)).toBeNull();
  });

  it("is not what no matcher knows", () => {
    expect(() => mismatch([1], { $lenght: 1 })).toThrow("$lenght");
    expect(() => mismatch([1], { $length: 1, id: 2 })).toThrow("id");
  });
});
