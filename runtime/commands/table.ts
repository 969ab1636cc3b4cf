/** Aligned text tables for people. Programs ask for JSON. */

export interface Column<Row> {
  title: string;
  value: (row: Row) => unknown;
  /** Longer cells are cut. */
  widthMax?: number;
}

const GAP = "  ";

/** A header line and a line a row; columns of numbers are right-aligned. Ends without a newline. */
export function renderTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const cells = rows.map((row) => columns.map((column) => cut(formatCell(column.value(row)), column.widthMax)));
  const lines = [columns.map(({ title }) => title.toUpperCase()), ...cells];
  const widths = columns.map((_, i) => Math.max(...lines.map((line) => line[i]!.length)));
  const isNumeric = columns.map(
    (column) => rows.length > 0 && rows.every((row) => isNumber(column.value(row)) || isEmpty(column.value(row))),
  );
  return lines
    .map((line) => line.map((cell, i) => (isNumeric[i] ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!))))
    .map((line) => line.join(GAP).trimEnd())
    .join("\n");
}

function formatCell(value: unknown): string {
  if (isEmpty(value)) return "-";
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : value.toFixed(4);
  if (typeof value === "object") return oneLine(JSON.stringify(value, (_, item: unknown) => plainBigint(item)));
  return oneLine(String(value));
}

function plainBigint(item: unknown): unknown {
  return typeof item === "bigint" ? String(item) : item;
}

function isEmpty(value: unknown): boolean {
  return value === undefined || value === null || value === "";
}

function isNumber(value: unknown): boolean {
  return typeof value === "number" || typeof value === "bigint";
}

/** Control characters of data must not reach the terminal. */
function oneLine(text: string): string {
  return text.replace(/\p{Cc}+/gu, " ");
}

function cut(text: string, widthMax = Number.POSITIVE_INFINITY): string {
  return text.length <= widthMax ? text : `${text.slice(0, widthMax - 1)}…`;
}
