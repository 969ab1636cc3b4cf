/** `orderByFields` of a request: names with a direction, as `"price:desc"` or `{ fieldName, order }`. */
import { z } from "zod";
import { VdbError } from "../../../runtime/errors.ts";
import type { RowOrder } from "../../../runtime/protocol/values.ts";
import type { CollectionSchema } from "../../../runtime/schema.ts";
import { scalarOf } from "../field-path.ts";
import { optional } from "../parse-body.ts";

/** Each is a comparison more for every pair of rows. */
const FIELDS_MAX = 16;

export const OrderByFields = optional(
  z.array(z.union([z.string().min(1), z.object({ fieldName: z.string().min(1), order: optional(z.string()) })])),
);

export interface OrderByName {
  name: string;
  isDescending: boolean;
}

/** @throws VdbError invalid_parameter */
export function orderByNames(given: z.infer<typeof OrderByFields>): OrderByName[] {
  if (given === undefined) return [];
  if (given.length > FIELDS_MAX) {
    throw new VdbError("invalid_parameter", `orderByFields: at most ${FIELDS_MAX} fields, got ${given.length}`);
  }
  return given.map((one) => {
    if (typeof one !== "string") return { name: one.fieldName, isDescending: isDescending(one.order ?? "asc") };
    // A path may have colons in it.
    const [, name = one, order = "asc"] = /^(.*)[: ](\w+)$/.exec(one) ?? [];
    return { name: name.trim(), isDescending: isDescending(order) };
  });
}

/** @throws VdbError invalid_parameter, field_not_found */
export function rowOrderOf(schema: CollectionSchema, given: z.infer<typeof OrderByFields>): RowOrder {
  return orderByNames(given).map(({ name, isDescending }) => ({
    ...scalarOf(schema, name, "order rows").ref,
    isDescending,
  }));
}

function isDescending(order: string): boolean {
  const text = order.toLowerCase();
  if (text === "asc" || text === "desc") return text === "desc";
  throw new VdbError("invalid_parameter", `orderByFields: the order must be asc or desc, got ${order}`);
}
