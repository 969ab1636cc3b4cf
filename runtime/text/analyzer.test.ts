import { describe, expect, it } from "vitest";
import { isVdbError } from "../errors.ts";
import { createAnalyzer } from "./analyzer.ts";
import { jieba, loadJieba } from "./jieba.ts";

function tokensOf(params: unknown, text: string): string[] {
  const json = params === undefined ? undefined : JSON.stringify(params);
  return createAnalyzer(json)
    .tokenise(text)
    .map((token) => token.text);
}

describe("createAnalyzer", () => {
  it("is the standard analyzer when nothing is said", () => {
    const text = "Vector-database, for Milvus2 (it's FAST)!";
    const expected = ["vector", "database", "for", "milvus2", "it", "s", "fast"];
    expect(tokensOf(undefined, text)).toEqual(expected);
    expect(tokensOf({}, text)).toEqual(expected);
    expect(tokensOf({ type: "standard" }, text)).toEqual(expected);
  });

  it("finds words of any script, and each character of Chinese, as it finds those of ASCII", () => {
    expect(tokensOf(undefined, "Überraschung, naïve; Москва 2024")).toEqual([
      "überraschung",
      "naïve",
      "москва",
      "2024",
    ]);
    expect(tokensOf(undefined, "向量db 数据")).toEqual(["向", "量", "db", "数", "据"]);
    const ascii = "some text, with 12 words_and-more  ";
    const words = (text: string) => createAnalyzer(undefined).tokenise(text);
    // A letter beyond ASCII takes the other way through the tokenizer.
    expect(words(`${ascii}é`).slice(0, -1)).toEqual(words(ascii));
  });

  it("says where tokens come from, and keeps the distances of those that are left", () => {
    const tokens = createAnalyzer(JSON.stringify({ type: "english" })).tokenise("The runners are running");
    expect(tokens).toEqual([
      { text: "runner", start: 4, end: 11, position: 1 },
      { text: "run", start: 16, end: 23, position: 3 },
    ]);
  });

  it("leaves out stop words", () => {
    expect(tokensOf({ type: "standard", stop_words: ["_english_", "red"] }, "the red and blue")).toEqual(["blue"]);
    expect(tokensOf({ type: "english", stop_words: ["blue"] }, "the red and blue")).toEqual(["red"]);
  });

  it("finds Chinese words", () => {
    const tokens = createAnalyzer(JSON.stringify({ type: "chinese" })).tokenise("向量数据库，db 2");
    expect(tokens.map(({ text, start }) => [text, start])).toEqual([
      ["向量", 0],
      ["数据", 2],
      ["据库", 3],
      ["数据库", 2],
      ["db", 6],
      ["2", 9],
    ]);
    const exact = { tokenizer: { type: "jieba", mode: "exact" }, filter: ["cncharonly"] };
    expect(tokensOf(exact, "我们是数据库 db")).toEqual(["我们", "是", "数据库"]);
  });

  const FILTERS: [filter: unknown, text: string, expected: string[]][] = [
    ["lowercase", "Ab CD", ["ab", "cd"]],
    ["asciifolding", "Café Straße Øre", ["Cafe", "Strasse", "Ore"]],
    ["alphanumonly", "a-b ab c3 é", ["ab", "c3"]],
    ["cnalphanumonly", "数据 ab é", ["数据", "ab"]],
    ["cncharonly", "数据 ab", ["数据"]],
    ["removepunct", "a , ... b$ $", ["a", "b$"]],
    [{ type: "stop", stop_words: ["x"] }, "x y", ["y"]],
    [{ type: "stop" }, "the y", ["y"]],
    [{ type: "length", min: 2, max: 3 }, "a ab abc abcd", ["ab", "abc"]],
    [{ type: "length", max: 1 }, "\u{1f600} ab", ["\u{1f600}"]],
    [{ type: "regex", expr: "^a+$" }, "a aa ab", ["a", "aa"]],
    [{ type: "stemmer", language: "german" }, "häuser", ["haus"]],
    [
      { type: "decompounder", word_list: ["dampf", "schiff", "fahrt"] },
      "dampfschifffahrt dampfboot",
      ["dampf", "schiff", "fahrt", "dampfboot"],
    ],
  ];
  it.each(FILTERS)("filters by %j", (filter, text, expected) => {
    expect(tokensOf({ tokenizer: "whitespace", filter: [filter] }, text)).toEqual(expected);
  });

  it("applies filters in their order", () => {
    const filter = [{ type: "stop", stop_words: ["The"] }, "lowercase"];
    expect(tokensOf({ tokenizer: "icu", filter }, "The THE. end")).toEqual(["the", ".", "end"]);
  });

  it("answers at once on an expression that would keep JavaScript's busy", () => {
    expect(
      tokensOf({ tokenizer: "whitespace", filter: [{ type: "regex", expr: "^(a+)+$" }] }, `${"a".repeat(5000)}!`),
    ).toEqual([]);
  });

  const REFUSED: [params: unknown, message: RegExp][] = [
    ["no object", /must be a JSON object/],
    [{ type: "klingon" }, /one of standard, english, chinese, got "klingon"/],
    [{ tokenizer: "grpc" }, /tokenizer grpc is not supported: icu/],
    [{ tokenizer: "words" }, /one of standard, whitespace, icu, jieba, got "words"/],
    [{ type: "standard", tokenizer: "icu" }, /got both/],
    [{ filter: ["lowercase"] }, /need a tokenizer/],
    [{ tokenizer: "icu", filter: "lowercase" }, /must be a list/],
    [{ tokenizer: "icu", filter: ["shout"] }, /one of lowercase, .*got "shout"/],
    [{ tokenizer: "icu", filter: [{ type: "length" }] }, /max of filter length must be a whole number, got none/],
    [{ tokenizer: "icu", filter: [{ type: "stemmer", language: "x" }] }, /one of arabic.*got "x"/],
    [{ tokenizer: "icu", filter: [{ type: "regex", expr: "(" }] }, /not a regular expression/],
    [{ tokenizer: "icu", filter: [{ type: "regex", expr: "a".repeat(5000) }] }, /at most 4096 characters, got 5000/],
    [{ tokenizer: "icu", filter: [{ type: "stop", stop_words: ["_klingon_"] }] }, /only list with a name is _english_/],
    [{ type: "english", stopwords: ["a"] }, /english analyzer has no parameter stopwords/],
  ];
  it.each(REFUSED)("refuses %j", (params, message) => {
    const refused = (error: unknown) => isVdbError(error, "invalid_parameter") && message.test(error.message);
    expect(() => createAnalyzer(JSON.stringify(params))).toThrow(expect.toSatisfy(refused));
  });

  const WORDS = ["Running", "can't", "3.14", "x_y", "é\u0301", "数据库", "我来到。", "สวัสดีครับ", "\n\n", "-", "🙂"];
  const LONG = Array.from({ length: 3_000 }, (_, i) => WORDS[(i * i + (i >> 3)) % WORDS.length]!).join(" ");
  it.each([
    {},
    { type: "english" },
    { tokenizer: "whitespace" },
    { tokenizer: "icu", filter: ["removepunct"] },
    { type: "chinese" },
  ])("finds in pieces of a long text what is in it, where it is: %j", (params) => {
    const analyzer = createAnalyzer(JSON.stringify(params));
    const pieces = [...analyzer.pieces(LONG)];
    expect(Math.max(...pieces.map((tokens) => tokens.length))).toBeLessThan(LONG.length / 20);
    // Words stand apart: each is what it is alone.
    const alone = WORDS.map((word) => analyzer.tokenise(word));
    let start = 0;
    const expected = LONG.split(" ").flatMap((word) => {
      const tokens = alone[WORDS.indexOf(word)]!.map(({ text, start: at, end }) => [text, start + at, start + end]);
      start += word.length + 1;
      return tokens;
    });
    const found = pieces.flat();
    expect(found.map(({ text, start: at, end }) => [text, at, end])).toEqual(expected);
    expect(analyzer.tokenise(LONG)).toEqual(found);
    const positions = found.map(({ position }) => position);
    expect(positions).toEqual([...new Set(positions)].sort((a, b) => a - b));
  });

  it("leaves alone what is too long for a word", () => {
    const long = "ab".repeat(600);
    const filter = [
      { type: "decompounder", word_list: ["ab"] },
      { type: "stemmer", language: "german" },
    ];
    expect(tokensOf({ tokenizer: "standard", filter }, `abab ${long}`)).toEqual(["ab", "ab", long]);
  });

  it("refuses what is no JSON", () => {
    expect(() => createAnalyzer("{")).toThrow(/not valid JSON/);
  });
});

it("a thread reads the dictionary of Chinese words for all", async () => {
  await loadJieba();
  expect(jieba().cut("清华大学", false)).toEqual(["清华大学"]);
});
