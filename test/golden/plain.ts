/** Values as JSON says them, exactly: what JSON has no word for is tagged with its type. */

export function plain(value: unknown): unknown {
  if (typeof value === "bigint") return { $bigint: String(value) };
  if (value instanceof Error) return { $error: { ...value, message: value.message } };
  if (ArrayBuffer.isView(value)) {
    const type = Buffer.isBuffer(value) ? "Uint8Array" : value.constructor.name;
    return { [`$${type}`]: Array.from(value as unknown as Iterable<unknown>, numberOrText) };
  }
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([, member]) => member !== undefined);
  return Object.fromEntries(entries.map(([name, member]) => [name, plain(member)]));
}

function numberOrText(item: unknown): unknown {
  return typeof item === "bigint" ? String(item) : item;
}
