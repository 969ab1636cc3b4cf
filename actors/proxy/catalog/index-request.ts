/** `indexParams` of create requests: what is asked for, checked against the field, before anything is made. */
import { z } from "zod";
import { checkIndexParams, checkMetric, defaultMetric } from "../../../runtime/ann/index-params.ts";
import { VdbError } from "../../../runtime/errors.ts";
import { isVectorType, type Metric, type VectorType } from "../../../runtime/schema.ts";
import { checkIndexName } from "../names.ts";
import { optional } from "../parse-body.ts";
import type { FieldSpec } from "./field-spec.ts";
import { indexedField, scalarIndexRequest } from "./scalar-index-request.ts";

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

/** @throws VdbError missing_field (no such field: Milvus's code), invalid_parameter, index_unsupported, missing_parameter */
export function indexRequest(body: IndexBody, fields: readonly FieldSpec[]): IndexRequest {
  const field = indexedField(body.fieldName, fields);
  if (field === undefined) {
    throw new VdbError(
      "missing_field",
      `missing required parameters, error: \`${body.fieldName}\` hasn't defined in schema`,
      { details: { field: body.fieldName } },
    );
  }
  if (!isVectorType(field.type)) return scalarIndexRequest(body, field);
  const name = body.indexName === undefined || body.indexName === "" ? field.name : body.indexName;
  checkIndexName(name);
  // Older clients give type and metric among the parameters.
  const { index_type: typeParam, metric_type: metricParam, ...params } = body.params ?? {};
  const type = (body.indexType ?? typeParam ?? "AUTOINDEX") as string;
  const metric = field.isFunctionOutput
    ? metricOfTexts(field.name, body.metricType ?? metricParam)
    : metricOf(body.metricType ?? metricParam, field.type);
  if (metric === "BM25" && !field.isFunctionOutput) {
    throw new VdbError("invalid_parameter", "only BM25 Function output field support BM25 metric type");
  }
  checkIndexParams(type, metric, field.dimension ?? 0, params, field.type);
  return { name, fieldName: field.name, type, metric, params };
}

/** Of a field that a BM25 function makes. @throws VdbError invalid_parameter */
function metricOfTexts(name: string, given: unknown): Metric {
  if (given === undefined || given === "" || String(given).toUpperCase() === "BM25") return "BM25";
  throw new VdbError(
    "invalid_parameter",
    `index metric type of BM25 function output field ${name} must be BM25, got ${String(given)}`,
  );
}

/** @throws VdbError invalid_parameter */
export function metricOf(given: unknown, vectorType: VectorType = "FloatVector"): Metric {
  if (given === undefined || given === "") return defaultMetric(vectorType);
  return checkMetric(vectorType, String(given));
}
