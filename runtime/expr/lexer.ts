/**
 * The words of the filter language. Order matters: the lexer takes the first token type that matches, so longer
 * spellings come before their prefixes and keywords before identifiers. Keywords exist in all-lower and ALL-UPPER.
 *
 * A path such as `a["b"][0]` is one token (no blanks inside), as in Milvus's grammar: `a` followed by a list would
 * otherwise be ambiguous with `a in[1]`.
 */
import { createToken, type IToken, Lexer, type TokenType } from "chevrotain";
import { ExpressionError } from "./expression-error.ts";
import { readPlainList } from "./list-literal.ts";

const WhiteSpace = createToken({ name: "WhiteSpace", pattern: /[ \t\r\n]+/, group: Lexer.SKIPPED });

export const Identifier = createToken({
  name: "Identifier",
  label: "an identifier",
  pattern: /[A-Za-z_][A-Za-z0-9_]*/,
});
export const MetaIdentifier = createToken({ name: "MetaIdentifier", label: "$meta", pattern: /\$meta/ });
export const PathIdentifier = createToken({
  name: "PathIdentifier",
  label: "a path",
  pattern:
    /(?!in\[|IN\[)(?:\$meta|[A-Za-z_][A-Za-z0-9_]*)(?:\[(?:"(?:[^"\\\r\n]|\\.)*"|'(?:[^'\\\r\n]|\\.)*'|0|[1-9][0-9]*)\])+/,
  line_breaks: false,
});

/** A token that is a constant by itself. */
export const Constant = createToken({ name: "Constant", label: "a constant", pattern: Lexer.NA });
export const FloatLiteral = createToken({
  name: "FloatLiteral",
  label: "a number",
  categories: Constant,
  pattern:
    /0[xX](?:[0-9a-fA-F]*\.[0-9a-fA-F]+|[0-9a-fA-F]+\.?)[pP][+-]?\d+|(?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+/,
});
export const IntLiteral = createToken({
  name: "IntLiteral",
  label: "a number",
  categories: Constant,
  pattern: /0[xX][0-9a-fA-F]+|0[bB][01]+|\d+/,
});
export const StringLiteral = createToken({
  name: "StringLiteral",
  label: "a string",
  categories: Constant,
  pattern: /(?:u8|u|U|L)?(?:"(?:[^"\\\r\n]|\\.)*"|'(?:[^'\\\r\n]|\\.)*')/,
  line_breaks: false,
});
export const BoolLiteral = createToken({
  name: "BoolLiteral",
  label: "a constant",
  categories: Constant,
  pattern: /(?:true|True|TRUE|false|False|FALSE)\b/,
});

export const IsNotNull = createToken({
  name: "IsNotNull",
  label: "is not null",
  pattern: /(?:is[ \t]+not[ \t]+null|IS[ \t]+NOT[ \t]+NULL)\b/,
});
export const IsNull = createToken({
  name: "IsNull",
  label: "is null",
  pattern: /(?:is[ \t]+null|IS[ \t]+NULL)\b/,
});
/** Only before a string, so that a field may be called `iso`. */
export const TimeKeyword = createToken({
  name: "TimeKeyword",
  label: "iso",
  pattern: /(?:iso|ISO|interval|INTERVAL)(?=[ \t]*["'])/,
});
/** A long list of plain keys; its values are the token's payload. */
export const PlainList = createToken({
  name: "PlainList",
  label: "a list",
  pattern: (text: string, offset: number) => {
    const list = readPlainList(text, offset);
    if (list === null) return null;
    return Object.assign([text.slice(offset, list.end)] as [string], { payload: list.values });
  },
  start_chars_hint: ["["],
  line_breaks: true,
});
export const Exists = keyword("Exists", /(?:exists|EXISTS)\b/);
export const Like = keyword("Like", /(?:like|LIKE)\b/);
export const In = keyword("In", /(?:in|IN)\b/);

/** Everything that stands between two operands, except IN; the parser weighs them by their spelling. */
export const BinaryOperator = createToken({ name: "BinaryOperator", label: "an operator", pattern: Lexer.NA });
/** What may stand before an operand. `+` and `-` are both. */
export const Sign = createToken({ name: "Sign", label: "a sign", pattern: Lexer.NA });
export const Not = createToken({ name: "Not", label: "not", pattern: /!|(?:not|NOT)\b/, categories: [Sign] });
const BitNot = createToken({ name: "BitNot", label: "~", pattern: /~/, categories: [Sign] });
const PlusMinus = createToken({ name: "PlusMinus", label: "+", pattern: /[+-]/, categories: [BinaryOperator, Sign] });

export const Power = createToken({ name: "Power", label: "**", pattern: /\*\*/ });
export const Or = createToken({ name: "Or", label: "or", pattern: /\|\||(?:or|OR)\b/, categories: BinaryOperator });
export const And = createToken({ name: "And", label: "and", pattern: /&&|(?:and|AND)\b/, categories: BinaryOperator });
const Operator = createToken({
  name: "Operator",
  label: "an operator",
  pattern: /<<|>>|<=|>=|==|!=|[<>*/%&|^]/,
  categories: BinaryOperator,
});
export const Assign = createToken({ name: "Assign", label: "=", pattern: /=/ });
export const LParen = createToken({ name: "LParen", label: "(", pattern: /\(/ });
export const RParen = createToken({ name: "RParen", label: ")", pattern: /\)/ });
export const LBracket = createToken({ name: "LBracket", label: "[", pattern: /\[/ });
export const RBracket = createToken({ name: "RBracket", label: "]", pattern: /\]/ });
export const LBrace = createToken({ name: "LBrace", label: "{", pattern: /\{/ });
export const RBrace = createToken({ name: "RBrace", label: "}", pattern: /\}/ });
export const Comma = createToken({ name: "Comma", label: ",", pattern: /,/ });

export const TOKENS: TokenType[] = [
  WhiteSpace,
  FloatLiteral,
  IntLiteral,
  StringLiteral,
  TimeKeyword,
  PathIdentifier,
  IsNotNull,
  IsNull,
  BoolLiteral,
  Or,
  And,
  // The two-character symbols before the one-character tokens that begin them.
  Power,
  Operator,
  Not,
  In,
  Like,
  Exists,
  MetaIdentifier,
  Identifier,
  BitNot,
  PlusMinus,
  Assign,
  LParen,
  RParen,
  PlainList,
  LBracket,
  RBracket,
  LBrace,
  RBrace,
  Comma,
  BinaryOperator,
  Sign,
  Constant,
];

const lexer = new Lexer(TOKENS, { positionTracking: "onlyOffset", ensureOptimizations: true });

/** @throws ExpressionError at the first character that begins no word. */
export function tokenize(text: string): IToken[] {
  const { tokens, errors } = lexer.tokenize(text);
  const error = errors[0];
  if (error === undefined) return tokens;
  const character = String.fromCodePoint(text.codePointAt(error.offset) ?? 0);
  if (character === '"' || character === "'") {
    throw new ExpressionError("string is not closed, or holds a line break", error.offset);
  }
  throw new ExpressionError(`unexpected character '${character}'`, error.offset);
}

function keyword(name: string, pattern: RegExp): TokenType {
  return createToken({ name, label: name.toLowerCase(), pattern });
}
