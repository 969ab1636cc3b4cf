/** Milvus's token filters. */
import { RE2JS } from "re2js";
import { newStemmer } from "snowball-stemmers";
import { ownText, type Token, type TokenFilter } from "./token.ts";

function mapText(change: (text: string) => string): TokenFilter {
  return (tokens) => {
    for (const token of tokens) token.text = change(token.text);
    return tokens;
  };
}

function keep(isKept: (text: string) => boolean): TokenFilter {
  return (tokens) => tokens.filter(({ text }) => isKept(text));
}

export const lowercase = mapText((text) => text.toLowerCase());

/** Letters that are no base letter with marks, which decomposition would find. */
const FOLDED: Readonly<Record<string, string>> = {
  ...{ ß: "ss", ẞ: "SS", æ: "ae", Æ: "AE", œ: "oe", Œ: "OE", ø: "o", Ø: "O", đ: "d", Đ: "D", ð: "d", Ð: "D" },
  ...{ þ: "th", Þ: "TH", ł: "l", Ł: "L", ħ: "h", Ħ: "H", ı: "i", ĸ: "q", ŋ: "n", Ŋ: "N", ŧ: "t", Ŧ: "T" },
};

/** Latin letters without their marks: "é" is "e", "ß" is "ss". */
export const asciiFolding = mapText((text) =>
  /^\p{ASCII}*$/u.test(text)
    ? text
    : text
        .normalize("NFKD")
        .replace(/\p{Mn}/gu, "")
        .replace(/[^\p{ASCII}]/gu, (letter) => FOLDED[letter] ?? letter),
);

export const alphaNumOnly = keep((text) => /^[A-Za-z0-9]+$/.test(text));
export const cnAlphaNumOnly = keep((text) => /^[\p{Script=Han}A-Za-z0-9]+$/u.test(text));
export const cnCharOnly = keep((text) => /^\p{Script=Han}+$/u.test(text));
export const removePunct = keep((text) => !/^[\p{P}\p{S}\s]+$/u.test(text));

export function stopFilter(words: Iterable<string>): TokenFilter {
  const stopped = new Set(words);
  return keep((text) => !stopped.has(text));
}

/** min and max in characters, both inclusive. */
export function lengthFilter(min: number, max: number): TokenFilter {
  return keep((text) => {
    const length = /^\p{ASCII}*$/u.test(text) ? text.length : Array.from(text).length;
    return length >= min && length <= max;
  });
}

/** Keeps what the expression is found in. In RE2: one that takes exponential time in JavaScript would hold the role. */
export function regexFilter(expression: string): TokenFilter {
  const pattern = RE2JS.compile(expression);
  return keep((text) => pattern.matcher(text).find());
}

/** Longer tokens are no words: they are neither stemmed nor taken apart, which takes long. */
const WORD_MAX = 1_000;

/** Stems kept of a language: texts repeat their words. */
const STEMS_MAX = 20_000;

const stemsOf = new Map<string, Map<string, string>>();

export function stemmer(language: string): TokenFilter {
  const snowball = newStemmer(language);
  const stems = stemsOf.get(language) ?? new Map<string, string>();
  stemsOf.set(language, stems);
  return mapText((word) => {
    let stem = stems.get(word);
    if (stem === undefined) {
      if (word.length > WORD_MAX) return word;
      const own = ownText(word);
      stem = snowball.stem(own);
      if (stems.size >= STEMS_MAX) stems.clear();
      stems.set(own, stem);
    }
    return stem;
  });
}

/** Tokens that consist of listed words become those; others stay. The parts stand where the whole stood. */
export function decompounder(words: readonly string[]): TokenFilter {
  const known = new Set(words.filter((word) => word !== ""));
  const longestFirst = [...new Set(Array.from(known, ({ length }) => length))].sort((a, b) => b - a);
  return (tokens) =>
    tokens.flatMap((token): Token[] => {
      const parts = token.text.length > WORD_MAX ? null : partsOf(token.text, known, longestFirst);
      return parts === null ? [token] : parts.map((text) => ({ ...token, text }));
    });
}

function partsOf(text: string, words: ReadonlySet<string>, lengths: readonly number[]): string[] | null {
  const parts: string[] = [];
  for (let at = 0; at < text.length; ) {
    const length = lengths.find((one) => at + one <= text.length && words.has(text.slice(at, at + one)));
    if (length === undefined) return null;
    parts.push(text.slice(at, at + length));
    at += length;
  }
  return parts;
}
