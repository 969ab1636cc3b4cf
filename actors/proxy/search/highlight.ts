/**
 * Highlighting: fragments of the texts of a search's hits, with the terms that were searched for between tags. Made of
 * the rows that are shown, after all else; which hits there are and in what order does not depend on it.
 */
import { z } from "zod";
import type { Clock } from "../../../runtime/clock.ts";
import { VdbError } from "../../../runtime/errors.ts";
import { type CollectionSchema, type FieldSchema, fieldByName } from "../../../runtime/schema.ts";
import { functionOf } from "../../../runtime/sparse/function-outputs.ts";
import type { Analyzer } from "../../../runtime/text/analyzer.ts";
import { fieldAnalyzer } from "../../../runtime/text/field-analyzer.ts";
import { takeTurn } from "../../../runtime/turns.ts";
import type { ResultRow } from "../columns-to-rows.ts";
import type { OutputFields } from "../output-fields.ts";

export const HighlighterBody = z.looseObject({ type: z.union([z.string(), z.number()]).optional() });
export type HighlighterBody = z.infer<typeof HighlighterBody>;

const Params = z.object({
  pre_tags: z.array(z.string()).min(1).default(["<em>"]),
  post_tags: z.array(z.string()).min(1).default(["</em>"]),
  highlight_search_text: z.boolean().default(false),
  highlight_query: z.array(z.object({ type: z.string(), field: z.string(), text: z.string() })).default([]),
  fragment_offset: z.int().min(0).default(0),
  fragment_size: z.int().min(1).default(100),
  num_of_fragments: z.int().min(0).default(5),
});
type Params = z.infer<typeof Params>;

interface Highlighted {
  field: FieldSchema;
  analyzer: Analyzer;
  /** By query. */
  terms: (query: number) => ReadonlySet<string>;
}

export interface Highlighter {
  params: Params;
  fields: Highlighted[];
}

/** A search for texts: its vector field, and the text of each query. */
export interface SearchedTexts {
  field: FieldSchema;
  data: unknown;
  analyzerName: unknown;
}

/** Undefined when nothing is to be highlighted. @throws VdbError invalid_parameter */
export function highlighterOf(
  schema: CollectionSchema,
  body: HighlighterBody | undefined,
  output: OutputFields,
  searches: readonly SearchedTexts[],
): Highlighter | undefined {
  if (body === undefined) return undefined;
  const { type = "Lexical", params: inner, ...outer } = body;
  if (type !== 0 && String(type).toLowerCase() !== "lexical") {
    throw invalid(`highlighter of type ${type} is not supported, only Lexical is`);
  }
  const params = paramsOf({ ...outer, ...(typeof inner === "object" ? inner : {}) });
  const texts: { field: FieldSchema; analyzerName: unknown; textOf: (query: number) => string }[] = [];
  if (params.highlight_search_text) {
    for (const { field, data, analyzerName } of searches) {
      const input = functionOf(schema, field)?.input;
      if (input === undefined) continue;
      texts.push({ field: input, analyzerName, textOf: (query) => String((data as unknown[])[query]) });
    }
    if (texts.length === 0) throw invalid("highlight_search_text needs a search for texts by BM25");
  }
  for (const { type: kind, field: name, text } of params.highlight_query) {
    if (kind !== "TextMatch") throw invalid(`highlight query of type ${kind} is not supported, only TextMatch is`);
    const field = fieldByName(schema, name);
    if (field?.enableAnalyzer !== true) throw invalid(`highlight field ${name} is not a field with an analyzer`);
    texts.push({ field, analyzerName: undefined, textOf: () => text });
  }
  const fields = [...new Set(texts.map(({ field }) => field))].map((field): Highlighted => {
    if (!output.fields.includes(field)) throw invalid(`highlight field ${field.name} must be in output fields`);
    const own = texts.filter((one) => one.field === field);
    const analyzer = fieldAnalyzer(field).named(own.map((one) => one.analyzerName).find(isName));
    return {
      field,
      analyzer,
      terms: (query) =>
        termsOf(
          analyzer,
          own.map(({ textOf }) => textOf(query)),
        ),
    };
  });
  return { params, fields };
}

/** Adds `highlight` to the rows of hits: long texts take a millisecond each. @param counts rows of each query, one after the other */
export async function highlight(
  rows: readonly ResultRow[],
  counts: Uint32Array,
  { params, fields }: Highlighter,
  clock: Clock,
): Promise<void> {
  let at = 0;
  for (const [query, count] of counts.entries()) {
    await takeTurn(clock);
    const searched = fields.map((one) => ({ ...one, found: one.terms(query) }));
    for (const end = at + count; at < end; at++) {
      await takeTurn(clock);
      const row = rows[at]!;
      const highlights: Record<string, { fragments: string[]; scores: number[] }> = {};
      for (const { field, analyzer, found } of searched) {
        const text = row[field.name];
        const fragments = typeof text === "string" ? fragmentsOf(text, analyzer, found, params) : [];
        highlights[field.name] = { fragments, scores: [] };
      }
      row.highlight = highlights;
    }
  }
}

/** Pieces of a text, each beginning at a term, or a little before it. Tags take turns. */
function fragmentsOf(text: string, analyzer: Analyzer, terms: ReadonlySet<string>, params: Params): string[] {
  const spans = distinct(analyzer.tokenise(text).filter((token) => terms.has(token.text)));
  const fragments: string[] = [];
  for (let next = 0, from = 0; next < spans.length && fragments.length < params.num_of_fragments; ) {
    const start = Math.max(from, spans[next]!.start - params.fragment_offset);
    const end = Math.max(spans[next]!.end, Math.min(text.length, start + params.fragment_size));
    let fragment = "";
    let at = start;
    for (; next < spans.length && spans[next]!.end <= end; next++) {
      const span = spans[next]!;
      const { pre_tags: before, post_tags: after } = params;
      fragment += text.slice(at, span.start) + before[next % before.length]!;
      fragment += text.slice(span.start, span.end) + after[next % after.length]!;
      at = span.end;
    }
    // A term that does not fit in is left to the next fragment.
    from = Math.max(at, Math.min(end, spans[next]?.start ?? end));
    fragments.push(fragment + text.slice(at, from));
  }
  return fragments;
}

/** Analyzers may find several terms in one place. */
function distinct<Span extends { start: number; end: number }>(spans: Span[]): Span[] {
  const ordered = [...spans].sort((a, b) => a.start - b.start || b.end - a.end);
  let end = 0;
  return ordered.filter((span) => {
    if (span.start < end) return false;
    end = span.end;
    return true;
  });
}

function termsOf(analyzer: Analyzer, texts: readonly string[]): Set<string> {
  return new Set(texts.flatMap((text) => analyzer.tokenise(text).map((token) => token.text)));
}

/** Values may be the JSON texts that SDKs send. */
function paramsOf(given: Record<string, unknown>): Params {
  const values: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(given)) values[name] = typeof value === "string" ? parsed(value) : value;
  const result = Params.safeParse(values);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw invalid(`highlighter parameter ${issue?.path.join(".") ?? ""}: ${issue?.message ?? "invalid"}`);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

function isName(given: unknown): given is string {
  return typeof given === "string" && given !== "";
}

function invalid(message: string): VdbError {
  return new VdbError("invalid_parameter", message);
}
