import { describe, expect, it } from "vitest";
import { z } from "zod";
import { CollectionBody, optional, parseBody } from "./parse-body.ts";

const Body = CollectionBody.extend({
  limit: optional(z.int()),
  items: optional(z.array(z.object({ name: z.string() }))),
});

describe("parseBody", () => {
  it("ignores keys that it does not know, and takes null for absent", () => {
    expect(parseBody(Body, { collectionName: "c", nonsense: 1, limit: null })).toEqual({
      collectionName: "c",
      limit: undefined,
    });
  });

  const missing: [string, unknown, string][] = [
    ["a field", {}, "collectionName"],
    ["a field that is null", { collectionName: null }, "collectionName"],
    ["a field that is empty", { collectionName: "" }, "collectionName"],
    ["a field inside of a list", { collectionName: "c", items: [{ name: "a" }, {}] }, "items.1.name"],
  ];
  it.each(missing)("names what is missing: %s", (_, body, field) => {
    expect(() => parseBody(Body, body)).toThrowError(
      expect.objectContaining({
        code: 1802,
        message: `missing required parameters, error: ${field} is required`,
        details: { field },
      }) as Error,
    );
  });

  const forms: [string, unknown, string][] = [
    ["none of the forms", { files: [5] }, "files.0: Invalid input: expected string or array, received number"],
    ["nearly one", { files: ["a", ["b", 5]] }, "files.1.1: Invalid input: expected string, received number"],
  ];
  it.each(forms)("says which forms a value may have: %s", (_, body, problem) => {
    const Files = z.object({ files: z.array(z.union([z.string(), z.array(z.string())])) });
    expect(() => parseBody(Files, body)).toThrowError(`can only accept json format request, error: ${problem}`);
  });

  const wrong: [string, unknown, string][] = [
    ["a number for a text", { collectionName: 5 }, "collectionName"],
    ["a text for an integer", { collectionName: "c", limit: "5" }, "limit"],
    ["a fraction for an integer", { collectionName: "c", limit: 1.5 }, "limit"],
    ["an object for a list", { collectionName: "c", items: {} }, "items"],
    ["a list for the body", [], ""],
    ["no body", undefined, ""],
  ];
  it.each(wrong)("names what is of a wrong type: %s", (_, body, field) => {
    expect(() => parseBody(Body, body)).toThrowError(
      expect.objectContaining({
        code: 1801,
        message: expect.stringContaining("can only accept json format request, error: "),
        details: { field },
      }) as Error,
    );
  });
});
