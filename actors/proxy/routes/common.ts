/** /v2/vectordb/common/* */
import { z } from "zod";
import type { Call } from "../../../runtime/bus/bus.ts";
import { VdbError } from "../../../runtime/errors.ts";
import * as api from "../../../runtime/protocol/public.ts";
import { fieldByName } from "../../../runtime/schema.ts";
import { Pace } from "../../../runtime/sparse/pace.ts";
import { type Analyzer, createAnalyzer } from "../../../runtime/text/analyzer.ts";
import { fieldAnalyzer, needsDictionary } from "../../../runtime/text/field-analyzer.ts";
import { termId } from "../../../runtime/text/term-id.ts";
import type { Token } from "../../../runtime/text/token.ts";
import { type ProxyContext, type Route, route, success } from "../context.ts";
import { optional } from "../parse-body.ts";
import { resolveCollection } from "../resolve.ts";

const TEXTS_MAX = 1_024;

/** Of all texts: an answer is some times as large. */
const CHARACTERS_MAX = 262_144;

/** Analysing and describing one, in units of a pace. */
const WORK_A_TOKEN = 256;

const RunAnalyzerBody = z.object({
  dbName: optional(z.string()),
  text: z.union([z.string(), z.array(z.string())]),
  /** JSON text, or the object itself. */
  analyzerParams: optional(z.union([z.string(), z.record(z.string(), z.unknown())])),
  withDetail: optional(z.boolean()),
  withHash: optional(z.boolean()),
  collectionName: optional(z.string()),
  fieldName: optional(z.string()),
  /** Of a field with several analyzers: one for each text, or one for all. */
  analyzerNames: optional(z.array(z.string())),
});
type RunAnalyzerBody = z.infer<typeof RunAnalyzerBody>;

export const commonRoutes: Route[] = [route(api.runAnalyzer, RunAnalyzerBody, runAnalyzer)];

/** What an analyzer makes of texts. Offsets are bytes of UTF-8, as Milvus counts them. */
async function runAnalyzer(proxy: ProxyContext, request: RunAnalyzerBody, call: Call) {
  const texts = typeof request.text === "string" ? [request.text] : request.text;
  if (texts.length > TEXTS_MAX) throw invalid(`text: at most ${TEXTS_MAX} texts at a time, got ${texts.length}`);
  const characters = texts.reduce((sum, text) => sum + text.length, 0);
  if (characters > CHARACTERS_MAX) {
    throw invalid(`text: at most ${CHARACTERS_MAX} characters at a time, got ${characters}`);
  }
  const analyzers = await analyzersOf(proxy, request, texts.length, call);
  const pace = new Pace(proxy.actor.clock, call.deadline);
  const results: { tokens: object[] }[] = [];
  for (const [i, text] of texts.entries()) {
    results.push({ tokens: await described(text, analyzers[i] ?? analyzers[0]!, request, pace) });
  }
  return success({ results });
}

async function analyzersOf(
  { actor }: ProxyContext,
  request: RunAnalyzerBody,
  textCount: number,
  call: Call,
): Promise<Analyzer[]> {
  const { analyzerParams: params, analyzerNames: names = [], collectionName = "", fieldName = "" } = request;
  if (collectionName === "") {
    const analyzerParams = typeof params === "object" ? JSON.stringify(params) : params;
    const analyzer = createAnalyzer(analyzerParams);
    if (analyzerParams !== undefined && needsDictionary({ name: "", analyzerParams }))
      await actor.machine.loadDictionary?.();
    return [analyzer];
  }
  if (params !== undefined) throw invalid("analyzerParams and collectionName exclude each other");
  const { name, schema } = await resolveCollection(actor, { dbName: request.dbName, collectionName }, call);
  const field = fieldByName(schema, fieldName);
  if (field === undefined)
    throw new VdbError("field_not_found", `field not found[field=${fieldName}][collection=${name}]`);
  if (field.enableAnalyzer !== true) throw invalid(`field ${fieldName} has no analyzer: enable_analyzer is not set`);
  if (names.length > 1 && names.length !== textCount) {
    throw invalid(`analyzerNames: expected one for each of ${textCount} texts, or one for all, got ${names.length}`);
  }
  const analyzer = fieldAnalyzer(field);
  return names.length === 0 ? [analyzer.named(undefined)] : names.map((one) => analyzer.named(one));
}

async function described(
  text: string,
  analyzer: Analyzer,
  { withDetail, withHash }: RunAnalyzerBody,
  pace: Pace,
): Promise<object[]> {
  const byteAt = withDetail === true ? byteOffsets(text) : (at: number) => at;
  const describe = (token: Token) => ({
    token: token.text,
    ...(withDetail === true
      ? { startOffset: byteAt(token.start), endOffset: byteAt(token.end), position: token.position, positionLength: 1 }
      : {}),
    ...(withHash === true ? { hash: termId(token.text) } : {}),
  });
  const described: object[] = [];
  for (const tokens of analyzer.pieces(text)) {
    for (const token of tokens) described.push(describe(token));
    if (pace.isDue(WORK_A_TOKEN * (1 + tokens.length))) await pace.turn();
  }
  return described;
}

/** From UTF-16 units to bytes of UTF-8. */
function byteOffsets(text: string): (at: number) => number {
  const bytes = new Uint32Array(text.length + 1);
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    // A pair of surrogates is four bytes: counted with its second half.
    const isHigh = code >= 0xd800 && code < 0xdc00;
    const size = code < 0x80 ? 1 : code < 0x800 ? 2 : isHigh ? 0 : code >= 0xdc00 && code < 0xe000 ? 4 : 3;
    bytes[i + 1] = bytes[i]! + size;
  }
  return (at) => bytes[at]!;
}

function invalid(message: string): VdbError {
  return new VdbError("invalid_parameter", message);
}
