/**
 * The API as an OpenAPI 3.1 document, made of what the proxy checks requests against: it cannot say what is not so.
 * Served at /openapi.json.
 */
import { z } from "zod";
import { ERRORS } from "../../runtime/errors.ts";
import { httpPath } from "../../runtime/protocol/public.ts";
import { JSON_TYPE } from "../../runtime/protocol/public-codec.ts";
import { VERSION } from "../../runtime/version.ts";
import type { Route } from "./context.ts";

type Json = Record<string, unknown>;

const REPLY: Json = {
  type: "object",
  required: ["code"],
  properties: {
    code: { type: "integer", description: "0: done. Else what went wrong; the status stays 200." },
    data: { description: "What was asked for, when the code is 0." },
    message: { type: "string", description: "What went wrong, in words." },
    details: { type: "object", description: "The same for programs: the field, what was given, what is allowed." },
    cost: { type: "integer" },
    topks: { type: "array", items: { type: "integer" }, description: "Hits of each query of a search." },
  },
};

export function openApiDocument(routes: readonly Route[]): Json {
  return {
    openapi: "3.1.0",
    info: {
      title: "vdb-actor",
      version: VERSION,
      description: "Milvus's RESTful API v2. The same operations are served over NATS, in JSON and in MessagePack.",
    },
    security: [{}, { bearer: [] }, { basic: [] }],
    paths: Object.fromEntries(routes.map((route) => [httpPath(route.operation), { post: described(route) }])),
    components: {
      securitySchemes: { bearer: { type: "http", scheme: "bearer" }, basic: { type: "http", scheme: "basic" } },
      schemas: { Reply: REPLY, ErrorCode: errorCodes() },
    },
  };
}

function described({ operation, body }: Route): Json {
  const [, group, name] = operation.subject.split(".");
  const schema = body === undefined ? { type: "object" } : jsonSchemaOf(body);
  return {
    operationId: `${group}_${name}`,
    tags: [group],
    requestBody: { required: true, content: { [JSON_TYPE]: { schema } } },
    responses: {
      "200": {
        description: "Done, or refused with a code",
        content: { [JSON_TYPE]: { schema: { $ref: "#/components/schemas/Reply" } } },
      },
      "401": {
        description: `Nobody, or a wrong password, where users are asked for: code ${ERRORS.unauthenticated.code}`,
      },
      "408": { description: `Not done in time: code ${ERRORS.deadline_exceeded.code}` },
    },
  };
}

/** Values that are checked by hand, after the shape, are anything here. */
function jsonSchemaOf(body: z.ZodType): Json {
  const { $schema: _, ...schema } = z.toJSONSchema(body, { io: "input", unrepresentable: "any" }) as Json;
  return schema;
}

function errorCodes(): Json {
  const codes = Object.entries(ERRORS).map(([kind, { code, retriable }]) => ({
    const: code,
    title: kind,
    description: retriable ? "the same request may succeed later" : "the same request will fail again",
  }));
  return { oneOf: codes };
}
