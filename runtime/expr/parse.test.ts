import { describe, expect, test } from "vitest";
import type { Expression, Literal } from "./ast.ts";
import { ExpressionError } from "./expression-error.ts";
import { parseFilter } from "./parse.ts";

/** The tree as s-expressions, so that a table can state it. */
function print(node: Expression): string {
  switch (node.kind) {
    case "literal":
      return printLiteral(node.literal);
    case "array":
      return `[${node.items.map(print).join(" ")}]`;
    case "list":
      return `[${node.values.join(" ")}]`;
    case "template":
      return `{${node.name}}`;
    case "identifier":
      return node.name + node.path.map((part) => `.${part}`).join("");
    case "call":
      return `(${[node.name, ...node.args.map(print), ...node.options.map((o) => `${o.name}=${print(o.value)}`)].join(" ")})`;
    case "nullTest":
      return `(${node.isNegated ? "is-not-null" : "is-null"} ${print(node.column)})`;
    case "exists":
      return `(exists ${print(node.operand)})`;
    case "like":
      return `(like ${print(node.left)} ${print(node.pattern)})`;
    case "unary":
      return `(${node.operator} ${print(node.operand)})`;
    case "in":
      return `(${node.isNegated ? "not-in" : "in"} ${print(node.left)} ${print(node.list)})`;
    case "range":
      return `(range ${node.lowerInclusive ? "[" : "("}${print(node.lower)} ${print(node.column)} ${print(node.upper)}${node.upperInclusive ? "]" : ")"})`;
    case "logic":
      return `(${node.operator} ${node.items.map(print).join(" ")})`;
    case "time":
      return `(${node.unit} ${JSON.stringify(node.text)})`;
    default:
      return `(${node.operator} ${print(node.left)} ${print(node.right)})`;
  }
}

function printLiteral(literal: Literal): string {
  if (literal.type === "string") return JSON.stringify(literal.value);
  if (literal.type === "array") return "array";
  return literal.type === "float" ? `${literal.value}f` : String(literal.value);
}

describe("precedence", () => {
  test.each([
    ["a or b and c", "(or a (and b c))"],
    ["a || b && c or d", "(or a (and b c) d)"],
    ["a AND b OR c AND d", "(or (and a b) (and c d))"],
    ["(a or b) and c", "(and (or a b) c)"],
    ["not a and b", "(and (not a) b)"],
    ["!a && !(b)", "(and (not a) (not b))"],
    ["not a > 1", "(> (not a) 1)"],
    ["not (a > 1)", "(not (> a 1))"],
    ["not a like 'x%'", '(not (like a "x%"))'],
    ["not a in [1]", "(in (not a) [1])"],
    ["a not in [1, 2]", "(not-in a [1 2])"],
    ["a ! in [1]", "(not-in a [1])"],
    ["a NOT IN [1,]", "(not-in a [1])"],
    ["a in[1]", "(in a [1])"],
    ["not a is null", "(not (is-null a))"],
    ["NOT EXISTS a['k']", "(not (exists a.k))"],
    ["a is not null or b IS NULL", "(or (is-not-null a) (is-null b))"],
    ["a + 1 * 2 == 7", "(== (+ a (* 1 2)) 7)"],
    ["a - 1 - 2 < 3", "(< (- (- a 1) 2) 3)"],
    ["-2 ** 2 < a", "(< (- (** 2 2)) a)"],
    ["a * 2 ** 3 ** 2 > 1", "(> (* a (** (** 2 3) 2)) 1)"],
    ["2 ** -1 < a", "(< (** 2 (- 1)) a)"],
    ["a + 1 in [2] == true", "(== (in (+ a 1) [2]) true)"],
    ["a < 1 == b < 2", "(== (< a 1) (< b 2))"],
    ["a & 1 == 1", "(& a (== 1 1))"],
    ["a | b ^ c & d", "(| a (^ b (& c d)))"],
    ["a << 1 + 2 > 3", "(> (<< a (+ 1 2)) 3)"],
    ["1 < a <= 5", "(range (1 a 5])"],
    ["5 >= a > 1", "(range (1 a 5])"],
    ["1 <= a['x'][0] < 5 and b", "(and (range [1 a.x.0 5)) b)"],
    ["1 < a > 5", "(> (< 1 a) 5)"],
    ["a == 1 != b", "(!= (== a 1) b)"],
  ])("%s", (text, tree) => {
    expect(print(parseFilter(text))).toBe(tree);
  });
});

describe("words", () => {
  test.each([
    ["a == 0x1F", "(== a 31)"],
    ["a == 017", "(== a 15)"],
    ["a == 0b101", "(== a 5)"],
    ["a == 1.", "(== a 1f)"],
    ["a == .5e1", "(== a 5f)"],
    ["a == 1e3", "(== a 1000f)"],
    ["a == 0x1.8p1", "(== a 3f)"],
    ["a == True", "(== a true)"],
    ["a == FALSE", "(== a false)"],
    [`a == "it's"`, `(== a "it's")`],
    ["a == 'say \"x\"'", '(== a "say \\"x\\"")'],
    ["a == u8'x'", '(== a "x")'],
    ["a == '\\x41\\101\\u00e9\\n'", '(== a "AAé\\n")'],
    ["a like 'x\\%'", '(like a "x\\\\%")'],
    ["a like 'x\\\\%'", '(like a "x\\\\%")'],
    ["$meta['a'] == 1", "(== $meta.a 1)"],
    ['a["b c"][3] == 1', "(== a.b c.3 1)"],
    ["order == 1 and inner == 2", "(and (== order 1) (== inner 2))"],
    ["iso == 1", "(== iso 1)"],
    ["a in {ids}", "(in a {ids})"],
    ["text_match(a, 'x', minimum_should_match=2)", '(text_match a "x" minimum_should_match=2)'],
    ["ts + INTERVAL 'P1D' > ISO '2025-01-01'", '(> (+ ts (interval "P1D")) (iso "2025-01-01"))'],
    ["a\n==\t1", "(== a 1)"],
  ])("%s", (text, tree) => {
    expect(print(parseFilter(text))).toBe(tree);
  });
});

describe("faults point at their column", () => {
  test.each([
    ["a = 5", 3, "unexpected '=', equality is written '=='"],
    ["a >", 4, "unexpected end of expression"],
    ["a > 1 b", 7, "unexpected 'b'"],
    ["(a > 1", 7, "expected )"],
    ["a in 5", 6, "expected a list"],
    ["a in [1 2]", 9, "expected ]"],
    ["a == 'x", 6, "string is not closed"],
    ["a # 1", 3, "unexpected character '#'"],
    ["a == 08", 6, "not an octal number"],
    ["a == '\\q'", 6, "is not an escape"],
    ["a == 99999999999999999999", 6, "does not fit in 64 bits"],
    ["a == 1e999", 6, "out of range"],
    ["a And b", 3, "unexpected 'And'"],
    ["f(a,)", 5, "unexpected ')'"],
    ["a in {$meta}", 7, "expected an identifier"],
  ])("%s", (text, column, fragment) => {
    const error = faultOf(text);
    expect(error.message).toContain(fragment);
    expect(error.offset + 1).toBe(column);
  });
});

function faultOf(text: string): ExpressionError {
  try {
    parseFilter(text);
  } catch (error) {
    if (error instanceof ExpressionError) return error;
    throw error;
  }
  throw new Error(`${text} parses`);
}

describe("hostile input", () => {
  test("nesting is refused long before the stack ends", () => {
    for (const opener of ["(", "not ", "- ", "[", "f("]) {
      expect(faultOf(opener.repeat(100_000)).message).toContain("nested deeper");
    }
  });

  test("long runs of arithmetic are refused, long runs of or are flat", () => {
    expect(faultOf(`a > ${"1 + ".repeat(5_000)}1`).message).toContain("operators in one run");
    expect(faultOf(`a > ${"1 + ".repeat(256)}1`).message).toContain("operators in one run");
    expect(() => parseFilter(`a > ${"1 + ".repeat(255)}1 or b > ${"1 + ".repeat(255)}1`)).not.toThrow();
    const tree = parseFilter(Array.from({ length: 5_000 }, (_, i) => `a == ${i}`).join(" or "));
    expect(tree.kind === "logic" && tree.items.length).toBe(5_000);
    const fault = faultOf(Array.from({ length: 8_194 }, (_, i) => `a < ${i}`).join(" or "));
    expect(fault.message).toBe(
      "expression with more than 8192 times and / or is too long: give values that are sought as a list or a template",
    );
  });

  test("a list of many keys is read whole, whatever they are", () => {
    const numbers = Array.from({ length: 20_000 }, (_, i) => (i % 2 === 0 ? i : -i));
    const texts = Array.from({ length: 1_000 }, (_, i) => (i % 2 === 0 ? `key, ${i}]` : `ключ ${i}`));
    const shown = (keys: unknown[]) => `(in a [${keys.join(" ")}])`;
    expect(print(parseFilter(`a in [${numbers.join(", ")}]`))).toBe(shown(numbers).replaceAll("-0", "0"));
    expect(print(parseFilter(`a in[\n${numbers.join(" ,\n")} , ]`))).toBe(shown(numbers).replaceAll("-0", "0"));
    expect(print(parseFilter(`a in [${texts.map((text) => `'${text}'`).join(",")}]`))).toBe(shown(texts));
    const parsed = (list: string) => {
      const tree = parseFilter(`a in [${`${list}, `.repeat(50)}]`);
      if (tree.kind !== "in") throw new Error(`${list} is no list`);
      return tree.list.kind === "array"
        ? print(tree.list.items[49]!)
        : tree.list.kind === "list"
          ? tree.list.values[49]
          : "";
    };
    expect(parsed("017")).toBe("15");
    expect(parsed("1234567890123456789")).toBe(1_234_567_890_123_456_789n);
    expect(parsed("-9223372036854775808")).toBe(-(2n ** 63n));
    expect(parsed("1.5")).toBe(1.5);
    expect(parsed("-.5e+1")).toBe(-5);
    expect(parsed("'a\\x41'")).toBe("aA");
    expect(faultOf(`a in [${"'x', ".repeat(50)} '\\q']`)).toMatchObject({ offset: 257 });
    expect(faultOf(`a in [${"9, ".repeat(50)} 99999999999999999999]`).message).toContain("does not fit in 64 bits");
    expect(parsed("true")).toBe("true");
    expect(parsed("1, 'x'")).toBe('"x"');
    expect(faultOf(`a in [${"1, ".repeat(50)} 1 2]`).message).toContain("unexpected '2', expected ]");
  });
});
