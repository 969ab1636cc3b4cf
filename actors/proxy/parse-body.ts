/** Request bodies against a route's shape, with Milvus's codes: 1801 for a wrong JSON type, 1802 for what is missing. */
import { z } from "zod";
import { VdbError } from "../../runtime/errors.ts";

/** A field that may be left out or null, as Go's JSON has it. */
export function optional<T extends z.ZodType>(schema: T) {
  return schema.nullish().transform((value) => value ?? undefined);
}

/** Every body that names a collection. */
export const CollectionBody = z.object({ dbName: optional(z.string()), collectionName: z.string().min(1) });
export type CollectionBody = z.infer<typeof CollectionBody>;

/** Keys that the shape does not name are ignored. @throws VdbError malformed_request, missing_field */
export function parseBody<T>(schema: z.ZodType<T>, body: unknown): T {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const path = issue?.path ?? [];
  const name = path.map(String).join(".");
  const given = valueAt(body, path);
  if (path.length > 0 && (given === undefined || given === null || given === "")) {
    throw new VdbError("missing_field", `missing required parameters, error: ${name} is required`, {
      details: { field: name },
    });
  }
  throw new VdbError(
    "malformed_request",
    `can only accept json format request, error: ${name === "" ? "body" : name}: ${issue?.message ?? "invalid"}`,
    { details: { field: name } },
  );
}

function valueAt(body: unknown, path: readonly PropertyKey[]): unknown {
  let value = body;
  for (const key of path) value = (value as Record<PropertyKey, unknown> | null | undefined)?.[key];
  return value;
}
