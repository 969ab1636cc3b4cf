import { expect, test } from "vitest";
import { fillSubject } from "./operation.ts";

test("a subject gets its parameters, each time those that are given", () => {
  expect(fillSubject("query.{nodeId}.search", { nodeId: "01A" })).toBe("query.01A.search");
  expect(fillSubject("query.{nodeId}.search", { nodeId: "01B" })).toBe("query.01B.search");
  expect(fillSubject("{a}.{b}", { a: 1, b: "x-y_z" })).toBe("1.x-y_z");
  expect(fillSubject("coordinator.timestamps", {})).toBe("coordinator.timestamps");
});

test.each(["a.b", "*", ">", "", " "])("a parameter that is no single token is refused: '%s'", (nodeId) => {
  expect(() => fillSubject("query.{nodeId}.search", { nodeId })).toThrow("is not a subject token");
  expect(() => fillSubject("query.{nodeId}.search", {})).toThrow("is not a subject token");
});
