/** `indexParams` of create requests: what is asked for, checked against the field, before anything is made. */
import { z } from "zod";
import { checkIndexParams } from "../../runtime/ann/index-params.ts";
import { VdbError } from "../../runtime/errors.ts";
import { METRICS, type Metric } from "../../runtime/schema.ts";
import { type FieldSpec, invalid } from "./field-spec.ts";
import { checkIndexName } from "./names.ts";
import { optional } from "./parse-body.ts";

const Params = z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]));

export const IndexBody = z.object({
  fieldName: z.string().min(1),
  indexName: optional(z.string()),
  metricType: optional(z.string()),
  indexType: optional(z.string()),
  params: optional(Params),
});
export type IndexBody = z.infer<typeof IndexBody>;

/** An index as it is asked for, by the name of its field: the field has an id only once the collection is there. */
export interface IndexRequest {
  name: string;
  fieldName: string;
  type: string;
  metric: Metric;
  params: Record<string, string | number | boolean>;
}

const DEFAULT_METRIC: Metric = "COSINE";

/** @throws VdbError missing_field (no such field: Milvus's code), invalid_parameter, index_unsupported, missing_parameter */
export function indexRequest(body: IndexBody, fields: readonly FieldSpec[]): IndexRequest {
  const field = fields.find(({ name }) => name === body.fieldName);
  if (field === undefined) {
    throw new VdbError(
      "missing_field",
      `missing required parameters, error: \`${body.fieldName}\` hasn't defined in schema`,
      { details: { field: body.fieldName } },
    );
  }
  if (field.type !== "FloatVector") {
    throw new VdbError(
      "index_unsupported",
      `index on field ${field.name} of type ${field.type} is not supported yet: only vector fields have one`,
    );
  }
  const name = body.indexName === undefined || body.indexName === "" ? field.name : body.indexName;
  checkIndexName(name);
  // Older clients give type and metric among the parameters.
  const { index_type: typeParam, metric_type: metricParam, ...params } = body.params ?? {};
  const type = (body.indexType ?? typeParam ?? "AUTOINDEX") as string;
  const metric = metricOf(body.metricType ?? metricParam);
  checkIndexParams(type, metric, field.dimension!, params);
  return { name, fieldName: field.name, type, metric, params };
}

/** @throws VdbError invalid_parameter */
export function metricOf(given: unknown): Metric {
  if (given === undefined || given === "") return DEFAULT_METRIC;
  const metric = METRICS.find((name) => name === given);
  if (metric !== undefined) return metric;
  throw invalid(`float vector index does not support metric type: ${String(given)}, use one of ${METRICS.join(", ")}`);
}
