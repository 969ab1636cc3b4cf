/**
 * Analyzers: how a text becomes the tokens that full-text search compares. Parameters are Milvus's: a built-in analyzer
 * by `type`, or a `tokenizer` with a list of filters.
 */
import { algorithms } from "snowball-stemmers";
import { errorMessage, VdbError } from "../errors.ts";
import { cutText, isPiece } from "./cut-text.ts";
import { ENGLISH_STOP_WORDS } from "./stop-words.ts";
import type { Token, TokenFilter, Tokenizer } from "./token.ts";
import {
  alphaNumOnly,
  asciiFolding,
  cnAlphaNumOnly,
  cnCharOnly,
  decompounder,
  lengthFilter,
  lowercase,
  regexFilter,
  removePunct,
  stemmer,
  stopFilter,
} from "./token-filters.ts";
import { icuTokenizer, jiebaTokenizer, standardTokenizer, whitespaceTokenizer } from "./tokenizers.ts";

export interface Analyzer {
  tokenise(text: string): Token[];
  /** The same tokens, found as they are asked for: those of some hundred words a step, a few milliseconds of work. */
  pieces(text: string): Iterable<Token[]>;
}

type Params = Readonly<Record<string, unknown>>;

/** Compiling one takes some microseconds a character. */
const EXPRESSION_MAX = 4_096;

const ANALYZERS_KEPT = 256;

/** Parameters longer than this (lists of words) are kept with the field that has them, not by their text. */
const PARAMS_KEPT_MAX = 65_536;

const kept = new Map<string, Analyzer>();

/**
 * The analyzer of these parameters (JSON text; none, or an empty object: the standard one). The same text gives the same
 * analyzer, so that what it has learned is kept.
 * @throws VdbError invalid_parameter
 */
export function createAnalyzer(paramsJson: string | undefined): Analyzer {
  const key = paramsJson ?? "";
  let analyzer = kept.get(key);
  if (analyzer === undefined) {
    analyzer = makeAnalyzer(key.trim() === "" ? {} : parseParams(key));
    if (key.length > PARAMS_KEPT_MAX) return analyzer;
    if (kept.size >= ANALYZERS_KEPT) kept.delete(kept.keys().next().value!);
    kept.set(key, analyzer);
  }
  return analyzer;
}

function parseParams(json: string): Params {
  let params: unknown;
  try {
    params = JSON.parse(json);
  } catch (error) {
    throw invalid(`analyzer params are not valid JSON: ${errorMessage(error)}`);
  }
  if (typeof params === "object" && params !== null && !Array.isArray(params)) return params as Params;
  throw invalid(`analyzer params must be a JSON object, got ${json}`);
}

function makeAnalyzer(params: Params): Analyzer {
  const { type, tokenizer, filter } = params;
  if (type !== undefined && tokenizer !== undefined) {
    throw invalid("analyzer params must have either type (a built-in analyzer) or tokenizer, got both");
  }
  if (tokenizer === undefined) {
    if (filter !== undefined) throw invalid("analyzer params with filter need a tokenizer");
    return builtIn(type ?? "standard", params);
  }
  return analyzerOf(tokenizerOf(tokenizer), filtersOf(filter));
}

function analyzerOf(tokenizer: Tokenizer, filters: readonly TokenFilter[]): Analyzer {
  const filtered = (tokens: Token[]) => filters.reduce((left, filter) => filter(left), tokens);
  function* pieces(text: string): Iterable<Token[]> {
    let position = 0;
    for (const { piece, start } of cutText(text, tokenizer === whitespaceTokenizer)) {
      const tokens = tokenizer(piece);
      const count = tokens.length;
      if (start > 0) for (const token of tokens) moveBy(token, start, position);
      position += count;
      yield filtered(tokens);
    }
  }
  return { tokenise: (text) => (isPiece(text) ? filtered(tokenizer(text)) : [...pieces(text)].flat()), pieces };
}

function moveBy(token: Token, start: number, position: number): void {
  token.start += start;
  token.end += start;
  token.position += position;
}

function builtIn(type: unknown, params: Params): Analyzer {
  const stopWords = params.stop_words === undefined ? [] : stopWordsOf(params.stop_words);
  switch (type) {
    case "standard":
      refuseUnknown("standard analyzer", params, ["type", "stop_words"]);
      return analyzerOf(standardTokenizer, [lowercase, ...(stopWords.length > 0 ? [stopFilter(stopWords)] : [])]);
    case "english":
      refuseUnknown("english analyzer", params, ["type", "stop_words"]);
      return analyzerOf(standardTokenizer, [
        lowercase,
        stemmer("english"),
        stopFilter([...ENGLISH_STOP_WORDS, ...stopWords]),
      ]);
    case "chinese":
      refuseUnknown("chinese analyzer", params, ["type"]);
      return analyzerOf(jiebaTokenizer("search", true), [cnAlphaNumOnly]);
    default:
      throw invalid(`analyzer type must be one of standard, english, chinese, got ${show(type)}`);
  }
}

const PLAIN_TOKENIZERS: Readonly<Record<string, Tokenizer>> = {
  standard: standardTokenizer,
  whitespace: whitespaceTokenizer,
  icu: icuTokenizer,
};

const OTHER_TOKENIZERS = ["lindera", "language_identifier", "grpc"];

function tokenizerOf(given: unknown): Tokenizer {
  const { type, ...params } = (typeof given === "object" && given !== null ? given : { type: given }) as Params;
  if (type === "jieba") return jiebaOf(params);
  const plain = typeof type === "string" ? PLAIN_TOKENIZERS[type] : undefined;
  if (plain !== undefined) {
    refuseUnknown(`tokenizer ${String(type)}`, params, []);
    return plain;
  }
  if (OTHER_TOKENIZERS.includes(String(type))) {
    throw invalid(`tokenizer ${String(type)} is not supported: icu finds words of any language, jieba Chinese ones`);
  }
  throw invalid(`tokenizer must be one of standard, whitespace, icu, jieba, got ${show(type)}`);
}

function jiebaOf(params: Params): Tokenizer {
  refuseUnknown("tokenizer jieba", params, ["dict", "mode", "hmm"]);
  const { mode = "search", hmm = true, dict = ["_default_"] } = params;
  if (mode !== "search" && mode !== "exact")
    throw invalid(`mode of tokenizer jieba must be search or exact, got ${show(mode)}`);
  if (typeof hmm !== "boolean") throw invalid(`hmm of tokenizer jieba must be true or false, got ${show(hmm)}`);
  const isDefault = Array.isArray(dict) && dict.every((name) => name === "_default_" || name === "_extend_default_");
  if (!isDefault)
    throw invalid(`dict of tokenizer jieba must be ["_default_"]: other words are not supported, got ${show(dict)}`);
  return jiebaTokenizer(mode, hmm);
}

const PLAIN_FILTERS: Readonly<Record<string, TokenFilter>> = {
  lowercase,
  asciifolding: asciiFolding,
  alphanumonly: alphaNumOnly,
  cnalphanumonly: cnAlphaNumOnly,
  cncharonly: cnCharOnly,
  removepunct: removePunct,
};

function filtersOf(given: unknown): TokenFilter[] {
  if (given === undefined) return [];
  if (!Array.isArray(given)) throw invalid(`filter of an analyzer must be a list, got ${show(given)}`);
  return (given as unknown[]).map(filterOf);
}

function filterOf(given: unknown): TokenFilter {
  const { type, ...params } = (typeof given === "object" && given !== null ? given : { type: given }) as Params;
  const name = `filter ${String(type)}`;
  switch (type) {
    case "stop":
      refuseUnknown(name, params, ["stop_words"]);
      return stopFilter(stopWordsOf(params.stop_words ?? ["_english_"]));
    case "stemmer": {
      refuseUnknown(name, params, ["language"]);
      const { language } = params;
      if (typeof language === "string" && algorithms().includes(language)) return stemmer(language);
      throw invalid(`language of filter stemmer must be one of ${algorithms().join(", ")}, got ${show(language)}`);
    }
    case "length": {
      refuseUnknown(name, params, ["min", "max"]);
      const min = wholeNumber(name, "min", params.min ?? 0);
      return lengthFilter(min, wholeNumber(name, "max", params.max));
    }
    case "regex":
      refuseUnknown(name, params, ["expr"]);
      return regexOf(params.expr);
    case "decompounder":
      refuseUnknown(name, params, ["word_list"]);
      return decompounder(wordList(`word_list of ${name}`, params.word_list));
    default: {
      const plain = typeof type === "string" ? PLAIN_FILTERS[type] : undefined;
      if (plain !== undefined) {
        refuseUnknown(name, params, []);
        return plain;
      }
      const names = [...Object.keys(PLAIN_FILTERS), "stop", "stemmer", "length", "regex", "decompounder"];
      throw invalid(`filter of an analyzer must be one of ${names.join(", ")}, got ${show(type)}`);
    }
  }
}

function regexOf(expression: unknown): TokenFilter {
  if (typeof expression !== "string") throw invalid(`expr of filter regex must be a text, got ${show(expression)}`);
  if (expression.length > EXPRESSION_MAX) {
    throw invalid(`expr of filter regex must have at most ${EXPRESSION_MAX} characters, got ${expression.length}`);
  }
  try {
    return regexFilter(expression);
  } catch (error) {
    throw invalid(`expr of filter regex is not a regular expression: ${errorMessage(error)}`);
  }
}

function stopWordsOf(given: unknown): string[] {
  const words = typeof given === "string" ? [given] : wordList("stop_words", given);
  return words.flatMap((word) => {
    if (word === "_english_") return [...ENGLISH_STOP_WORDS];
    if (/^_.+_$/.test(word)) throw invalid(`stop_words: the only list with a name is _english_, got ${word}`);
    return [word];
  });
}

function wordList(what: string, given: unknown): string[] {
  if (Array.isArray(given) && given.every((word) => typeof word === "string")) return given as string[];
  throw invalid(`${what} must be a list of words, got ${show(given)}`);
}

function wholeNumber(what: string, name: string, given: unknown): number {
  if (Number.isSafeInteger(given) && Number(given) >= 0) return Number(given);
  throw invalid(`${name} of ${what} must be a whole number, got ${show(given)}`);
}

function refuseUnknown(what: string, params: Params, known: readonly string[]): void {
  const unknown = Object.keys(params).find((name) => !known.includes(name));
  if (unknown === undefined) return;
  throw invalid(`${what} has no parameter ${unknown}${known.length === 0 ? "" : `: it has ${known.join(", ")}`}`);
}

function show(value: unknown): string {
  return value === undefined ? "none" : JSON.stringify(value);
}

function invalid(message: string): VdbError {
  return new VdbError("invalid_parameter", message);
}
