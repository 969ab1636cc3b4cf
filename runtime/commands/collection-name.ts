/** A collection as the command line names it. */
import { DEFAULT_DATABASE } from "../meta/catalog.ts";
import { UsageError } from "./usage-error.ts";

/** `name`, or `database.name`. @throws UsageError */
export function collectionName(option: string, text: string): { database: string; name: string } {
  const parts = text.split(".");
  const name = parts.pop() ?? "";
  const [database = DEFAULT_DATABASE, ...more] = parts;
  if (more.length === 0 && [database, name].every((part) => /^[A-Za-z_]\w*$/.test(part))) return { database, name };
  throw new UsageError(`${option} takes the name of a collection, got ${JSON.stringify(text)}`);
}
