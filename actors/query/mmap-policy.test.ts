import { expect, test } from "vitest";
import { fieldPolicy, indexPolicy } from "./mmap-policy.ts";

const NAME = "mmap.enabled";
const plain = { properties: {} };
const mapped = { properties: { [NAME]: "true" } };
const copied = { properties: { [NAME]: "false" } };

test("a field says itself whether it is mapped, else its collection does, else the node", () => {
  expect(fieldPolicy("surplus", plain, {})).toBe("surplus");
  expect(fieldPolicy("always", plain, {})).toBe("always");
  expect(fieldPolicy("never", mapped, {})).toBe("always");
  expect(fieldPolicy("always", copied, {})).toBe("never");
  expect(fieldPolicy("surplus", mapped, { mmapEnabled: false })).toBe("never");
  expect(fieldPolicy("surplus", copied, { mmapEnabled: true })).toBe("always");
});

test("of an index its properties come before what it was created with, and both before the collection", () => {
  expect(indexPolicy("surplus", plain, { params: {} })).toBe("surplus");
  expect(indexPolicy("surplus", copied, { params: {} })).toBe("never");
  expect(indexPolicy("surplus", copied, { params: { [NAME]: true } })).toBe("always");
  expect(indexPolicy("surplus", mapped, { params: { [NAME]: "true" }, properties: { [NAME]: "false" } })).toBe("never");
});
