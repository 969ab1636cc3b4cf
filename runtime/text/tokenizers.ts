/** Milvus's tokenizers: text to tokens. */
import { jieba } from "./jieba.ts";
import type { Token, Tokenizer } from "./token.ts";

const WORD = /\p{Script=Han}|[\p{Alphabetic}\p{M}\p{N}]+/gu;
const SPLIT_BY_HAN = /\p{Script=Han}|[^\p{Script=Han}]+/gu;
const HAN = /\p{Script=Han}/u;
const NOT_ASCII = /[^\p{ASCII}]/u;

/** Runs of letters and digits; of Chinese, each character. */
export const standardTokenizer: Tokenizer = (text) => (NOT_ASCII.test(text) ? unicodeWords(text) : asciiWords(text));

function unicodeWords(text: string): Token[] {
  const tokens: Token[] = [];
  for (const { 0: run, index } of text.matchAll(WORD)) {
    // A run of letters may have Chinese ones in it: each is a word.
    if (!HAN.test(run)) add(tokens, run, index);
    else for (const part of run.matchAll(SPLIT_BY_HAN)) add(tokens, part[0], index + part.index);
  }
  return tokens;
}

/** The same for text that is ASCII, at a fifth of the cost. */
function asciiWords(text: string): Token[] {
  const tokens: Token[] = [];
  let start = -1;
  for (let i = 0; i <= text.length; i++) {
    const code = i < text.length ? text.charCodeAt(i) : 0;
    const isWord = (code >= 97 && code <= 122) || (code >= 48 && code <= 57) || (code >= 65 && code <= 90);
    if (isWord === start >= 0) continue;
    if (start >= 0) add(tokens, text.slice(start, i), start);
    start = isWord ? i : -1;
  }
  return tokens;
}

export const whitespaceTokenizer: Tokenizer = (text) => {
  const tokens: Token[] = [];
  for (const { 0: word, index } of text.matchAll(/[^ \t\n\r\f\v]+/g)) add(tokens, word, index);
  return tokens;
};

let segmenter: Intl.Segmenter | undefined;

/** Characters looked at together: each word costs time with them. */
const WINDOW = 1_024;

/** Where a word ends may depend on what follows, by a few characters. */
const LOOK_AHEAD = 64;

/** Words by the rules of Unicode, with punctuation as tokens (filter `removepunct` drops it). */
export const icuTokenizer: Tokenizer = (text) => {
  segmenter ??= new Intl.Segmenter("und", { granularity: "word" });
  const tokens: Token[] = [];
  for (let start = 0, length = WINDOW; start < text.length; ) {
    const isLast = start + length >= text.length;
    let end = start;
    for (const { segment, index } of segmenter.segment(text.slice(start, start + length))) {
      if (!isLast && index + segment.length > length - LOOK_AHEAD) break;
      if (segment.trim() !== "") add(tokens, segment, start + index);
      end = start + index + segment.length;
    }
    // A word that does not end in the window needs a larger one.
    length = end === start ? 2 * length : WINDOW;
    start = end;
  }
  return tokens;
};

/** Chinese words. mode search: before each long word also the short ones inside of it. */
export function jiebaTokenizer(mode: "search" | "exact", hmm: boolean): Tokenizer {
  return (text) => {
    const { cut, cutForSearch } = jieba();
    const words = cut(text, hmm);
    const withShort = mode === "search" ? cutForSearch(text, hmm) : words;
    const tokens: Token[] = [];
    let start = 0;
    let next = 0;
    for (const word of words) {
      for (; next < withShort.length && withShort[next] !== word; next++) {
        add(tokens, withShort[next]!, start + Math.max(0, word.indexOf(withShort[next]!)));
      }
      next++;
      if (word.trim() !== "") add(tokens, word, start);
      start += word.length;
    }
    return tokens;
  };
}

function add(tokens: Token[], text: string, start: number): void {
  tokens.push({ text, start, end: start + text.length, position: tokens.length });
}
