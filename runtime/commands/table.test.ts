import { expect, test } from "vitest";
import { renderTable } from "./table.ts";

const columns = ["name", "count"].map((title) => ({ title, value: (row: Record<string, unknown>) => row[title] }));

test("aligns text to the left and numbers to the right", () => {
  const rows = [
    { name: "a", count: 1 },
    { name: "bcd", count: 1234 },
  ];
  expect(`\n${renderTable(columns, rows)}`).toBe(`
NAME  COUNT
a         1
bcd    1234`);
});

test("shows a dash where there is nothing, and objects as JSON", () => {
  const rows = [
    { name: null, count: undefined },
    { name: ["x", 2n], count: "" },
  ];
  expect(`\n${renderTable(columns, rows)}`).toBe(`
NAME       COUNT
-              -
["x","2"]      -`);
});

test("keeps a row on its line: no control characters, and long cells are cut", () => {
  const row = { name: "a\nb\u001b[31mc", count: "x".repeat(9) };
  const narrow = columns.map((column) => ({ ...column, widthMax: 8 }));
  expect(renderTable(narrow, [row]).split("\n")[1]).toBe("a b [31…  xxxxxxx…");
});
