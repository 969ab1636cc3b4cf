import { describe, expect, it } from "vitest";
import { isVdbError } from "../errors.ts";
import { fieldAnalyzer } from "./field-analyzer.ts";

function several(params: unknown) {
  return fieldAnalyzer({ name: "text", multiAnalyzerParams: JSON.stringify(params) });
}

const LANGUAGES = {
  analyzers: { default: { tokenizer: "icu" }, english: { type: "english" } },
  by_field: "language",
  alias: { en: "english" },
};

describe("fieldAnalyzer", () => {
  it("is the field's one analyzer", () => {
    const analyzer = fieldAnalyzer({ name: "text", analyzerParams: '{"type":"english"}' });
    expect(analyzer.byField).toBeUndefined();
    expect(analyzer.named(undefined).tokenise("runs")).toMatchObject([{ text: "run" }]);
  });

  it("is the one that a row's language names, by its name or an alias, else the default one", () => {
    const analyzer = several(LANGUAGES);
    expect(analyzer.byField).toBe("language");
    expect(analyzer.named("english").tokenise("Runs")).toMatchObject([{ text: "run" }]);
    expect(analyzer.named("en").tokenise("Runs")).toMatchObject([{ text: "run" }]);
    expect(analyzer.named("fr").tokenise("Runs")).toMatchObject([{ text: "Runs" }]);
    expect(analyzer.named(undefined).tokenise("Runs")).toMatchObject([{ text: "Runs" }]);
  });

  it.each([
    [{ ...LANGUAGES, analyzers: { english: {} } }, /need an analyzer named default/],
    [{ ...LANGUAGES, analyzers: undefined }, /analyzers in multi_analyzer_params of field text must be an object/],
    [{ ...LANGUAGES, by_field: "" }, /must name a field in by_field/],
    [{ ...LANGUAGES, alias: { de: "german" } }, /alias de names no analyzer: "german"/],
    [{ ...LANGUAGES, analyzers: { default: { type: "klingon" } } }, /got "klingon"/],
    [[], /multi_analyzer_params of field text must be an object/],
  ])("refuses %j", (params, message) => {
    const refused = (error: unknown) => isVdbError(error, "invalid_parameter") && message.test(error.message);
    expect(() => several(params)).toThrow(expect.toSatisfy(refused));
  });
});
