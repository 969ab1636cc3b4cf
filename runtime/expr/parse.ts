/**
 * Text of a filter to its syntax tree.
 *
 * The grammar is Milvus 2.6's. The levels of precedence between two operands are not grammar rules but one table: the
 * `expression` rule reads a flat run of operands and operators, and `bind` (precedence.ts) then joins them. Seventeen nested rules
 * would be walked for every element of a long IN list.
 */
import {
  EmbeddedActionsParser,
  type IParserErrorMessageProvider,
  type IToken,
  type TokenType,
  tokenLabel,
} from "chevrotain";
import type { Expression, Literal } from "./ast.ts";
import { ExpressionError } from "./expression-error.ts";
import {
  And,
  Assign,
  BinaryOperator,
  BoolLiteral,
  Comma,
  Constant,
  Exists,
  FloatLiteral,
  Identifier,
  In,
  IntLiteral,
  IsNotNull,
  IsNull,
  LBrace,
  LBracket,
  Like,
  LParen,
  MetaIdentifier,
  Not,
  Or,
  PathIdentifier,
  PlainList,
  Power,
  RBrace,
  RBracket,
  RParen,
  Sign,
  StringLiteral,
  TimeKeyword,
  TOKENS,
  tokenize,
} from "./lexer.ts";
import { parseFloatLiteral, parseInteger, parsePath, parseString } from "./literal.ts";
import { bind, type Link, OPERATOR_RUN_MAX } from "./precedence.ts";

/** Levels of brackets and signs. The parser and the planner recurse: this keeps them far from the end of the stack. */
const NESTING_MAX = 100;

/** What each of them joins takes some microseconds to read: more would hold up everybody else. Lists of values may be longer. */
const JOINTS_MAX = 8_192;

/**
 * The tree of a filter. Blank text is not a filter: callers treat it before.
 * @throws ExpressionError with the place of the first fault
 */
export function parseFilter(text: string): Expression {
  const tokens = tokenize(text);
  const joints = tokens.filter(({ tokenType }) => tokenType === And || tokenType === Or);
  if (joints.length > JOINTS_MAX) {
    const message = `expression with ${joints.length} times and / or is too long, at most ${JOINTS_MAX} are read: give values that are sought as a list or a template`;
    throw new ExpressionError(message, joints[JOINTS_MAX]!.startOffset);
  }
  parser.begin(tokens);
  const tree = parser.filter();
  const error = parser.errors[0];
  if (error === undefined) return tree;
  const isAtEnd = Number.isNaN(error.token.startOffset) || error.token.image === "";
  throw new ExpressionError(error.message, isAtEnd ? text.length : error.token.startOffset);
}

function describe(token: IToken | undefined): string {
  return token === undefined || token.image === "" ? "end of expression" : `'${token.image}'`;
}

function unexpected(token: IToken | undefined): string {
  if (token?.tokenType === Assign) return "unexpected '=', equality is written '=='";
  return `unexpected ${describe(token)}`;
}

const messages: IParserErrorMessageProvider = {
  buildMismatchTokenMessage: ({ expected, actual }) => `${unexpected(actual)}, expected ${tokenLabel(expected)}`,
  buildNotAllInputParsedMessage: ({ firstRedundant }) =>
    `${unexpected(firstRedundant)}, expected an operator or the end of the expression`,
  buildNoViableAltMessage: ({ actual, ruleName }) =>
    ruleName === "list"
      ? `${unexpected(actual[0])}, expected a list such as [1, 2] or a template such as {ids}`
      : `${unexpected(actual[0])}, expected a field, a constant or an expression`,
  buildEarlyExitMessage: ({ actual }) => `${unexpected(actual[0])}, expected an expression`,
};

class FilterParser extends EmbeddedActionsParser {
  private depth = 0;

  constructor() {
    super(TOKENS, { errorMessageProvider: messages, maxLookahead: 2 });
    this.performSelfAnalysis();
  }

  begin(tokens: IToken[]): void {
    this.input = tokens;
    this.depth = 0;
  }

  readonly filter = this.RULE("filter", (): Expression => this.SUBRULE(this.expression));

  private readonly expression = this.RULE("expression", (): Expression => {
    const first = this.SUBRULE(this.operand);
    const links: Link[] = [];
    this.MANY(() => {
      this.OR([
        {
          ALT: () => {
            const operator = this.CONSUME(BinaryOperator);
            links.push({ operator, right: this.SUBRULE1(this.operand) });
          },
        },
        {
          ALT: () => {
            const isNegated = this.OPTION(() => this.CONSUME(Not)) !== undefined;
            this.CONSUME(In);
            links.push({ isNegated, list: this.SUBRULE(this.list) });
          },
        },
      ]);
    });
    return this.ACTION(() => bind(first, links));
  });

  /** Signs, then an operand that LIKE, `**`, EXISTS and null tests have already taken. */
  private readonly operand = this.RULE("operand", (): Expression => {
    if (++this.depth > NESTING_MAX) this.ACTION(() => this.refuseNesting());
    const node = this.OR<Expression>([
      {
        ALT: () => {
          const sign = this.CONSUME(Sign);
          const operand = this.SUBRULE(this.operand);
          return this.ACTION(() => signed(sign, operand));
        },
      },
      { ALT: () => this.SUBRULE(this.power) },
    ]);
    this.depth--;
    return node;
  });

  private readonly power = this.RULE("power", (): Expression => {
    let left = this.SUBRULE(this.match);
    let count = 0;
    this.MANY(() => {
      this.CONSUME(Power);
      // A sign is allowed here: 2 ** -1.
      const right = this.OR<Expression>([
        {
          ALT: () => {
            const sign = this.CONSUME(Sign);
            const operand = this.SUBRULE1(this.match);
            return this.ACTION(() => signed(sign, operand));
          },
        },
        { ALT: () => this.SUBRULE2(this.match) },
      ]);
      if (++count > OPERATOR_RUN_MAX) this.ACTION(() => this.refuseNesting());
      left = { kind: "arithmetic", operator: "**", left, right, start: left.start, end: right.end };
    });
    return left;
  });

  private readonly match = this.RULE("match", (): Expression => {
    const left = this.SUBRULE(this.existence);
    const pattern = this.OPTION(() => {
      this.CONSUME(Like);
      return this.SUBRULE1(this.existence);
    });
    if (pattern === undefined) return left;
    return { kind: "like", left, pattern, start: left.start, end: pattern.end };
  });

  private readonly existence = this.RULE("existence", (): Expression => {
    const word = this.OPTION(() => this.CONSUME(Exists));
    const operand = this.SUBRULE(this.primary);
    return word === undefined ? operand : { kind: "exists", operand, start: word.startOffset, end: operand.end };
  });

  private readonly primary = this.RULE(
    "primary",
    (): Expression =>
      this.OR<Expression>([
        { ALT: () => this.SUBRULE(this.constant) },
        { ALT: () => this.SUBRULE(this.array) },
        { ALT: () => this.SUBRULE(this.template) },
        { ALT: () => this.SUBRULE(this.time) },
        { ALT: () => this.SUBRULE(this.parenthesised) },
        { ALT: () => this.SUBRULE(this.call) },
        { ALT: () => this.SUBRULE(this.column) },
      ]),
  );

  private readonly parenthesised = this.RULE("parenthesised", (): Expression => {
    const open = this.CONSUME(LParen);
    const inner = this.SUBRULE(this.expression);
    const close = this.CONSUME(RParen);
    return { ...inner, start: open.startOffset, end: endOf(close) };
  });

  private readonly constant = this.RULE("constant", (): Expression => {
    const token = this.CONSUME(Constant);
    return this.ACTION(() => ({ kind: "literal", literal: literalFrom(token), ...spanOf(token) }));
  });

  private readonly array = this.RULE(
    "array",
    (): Expression =>
      this.OR<Expression>([{ ALT: () => this.SUBRULE(this.plainList) }, { ALT: () => this.SUBRULE(this.items) }]),
  );

  private readonly plainList = this.RULE("plainList", (): Expression => {
    const token = this.CONSUME(PlainList);
    return this.ACTION(() => ({ kind: "list", values: token.payload as number[] | string[], ...spanOf(token) }));
  });

  private readonly items = this.RULE("items", (): Expression => {
    const open = this.CONSUME(LBracket);
    const items: Expression[] = [];
    this.ACTION(() => this.takeConstants(items));
    let isOpen = true;
    this.MANY({
      GATE: () => isOpen,
      DEF: () => {
        items.push(this.SUBRULE(this.expression));
        isOpen = this.OPTION(() => this.CONSUME(Comma)) !== undefined;
      },
    });
    const close = this.CONSUME(RBracket);
    return { kind: "array", items, start: open.startOffset, end: endOf(close) };
  });

  private readonly template = this.RULE("template", (): Expression => {
    const open = this.CONSUME(LBrace);
    const name = this.CONSUME(Identifier);
    const close = this.CONSUME(RBrace);
    return { kind: "template", name: name.image, start: open.startOffset, end: endOf(close) };
  });

  private readonly list = this.RULE(
    "list",
    (): Expression =>
      this.OR<Expression>([{ ALT: () => this.SUBRULE(this.array) }, { ALT: () => this.SUBRULE(this.template) }]),
  );

  private readonly time = this.RULE("time", (): Expression => {
    const word = this.CONSUME(TimeKeyword);
    const text = this.CONSUME(StringLiteral);
    return this.ACTION(() => ({
      kind: "time",
      unit: word.image.toLowerCase() as "iso" | "interval",
      text: parseString(text.image, text.startOffset),
      start: word.startOffset,
      end: endOf(text),
    }));
  });

  private readonly call = this.RULE("call", (): Expression => {
    const name = this.CONSUME(Identifier);
    this.CONSUME(LParen);
    const args: Expression[] = [];
    const options: { name: string; value: Expression }[] = [];
    this.MANY_SEP({
      SEP: Comma,
      DEF: () => {
        const option = this.OPTION(() => {
          const word = this.CONSUME1(Identifier);
          this.CONSUME(Assign);
          return word;
        });
        const value = this.SUBRULE(this.expression);
        if (option === undefined) args.push(value);
        else options.push({ name: option.image, value });
      },
    });
    const close = this.CONSUME(RParen);
    return { kind: "call", name: name.image, args, options, start: name.startOffset, end: endOf(close) };
  });

  private readonly column = this.RULE("column", (): Expression => {
    const token = this.OR<IToken>([
      { ALT: () => this.CONSUME(PathIdentifier) },
      { ALT: () => this.CONSUME(MetaIdentifier) },
      { ALT: () => this.CONSUME(Identifier) },
    ]);
    const test = this.OPTION(() =>
      this.OR1<IToken>([{ ALT: () => this.CONSUME(IsNull) }, { ALT: () => this.CONSUME(IsNotNull) }]),
    );
    return this.ACTION(() => columnFrom(token, test));
  });

  /** The run of plain constants that a list starts with, without the rules: lists hold thousands of keys. */
  private takeConstants(items: Expression[]): void {
    for (;;) {
      const isNegative = this.LA(1).image === "-";
      const constant = this.LA(isNegative ? 2 : 1);
      const isTaken = isConstant(constant.tokenType) && this.LA(isNegative ? 3 : 2).tokenType === Comma;
      if (!isTaken) return;
      const sign = isNegative ? this.CONSUME(Sign) : undefined;
      this.CONSUME(Constant);
      this.CONSUME(Comma);
      const item: Expression = { kind: "literal", literal: literalFrom(constant), ...spanOf(constant) };
      items.push(sign === undefined ? item : signed(sign, item));
    }
  }

  private refuseNesting(): never {
    throw new ExpressionError(`expression is nested deeper than ${NESTING_MAX} levels`, this.LA(1).startOffset);
  }
}

function isConstant(type: TokenType): boolean {
  return type === IntLiteral || type === FloatLiteral || type === StringLiteral || type === BoolLiteral;
}

function endOf(token: IToken): number {
  return token.startOffset + token.image.length;
}

function spanOf(token: IToken): { start: number; end: number } {
  return { start: token.startOffset, end: endOf(token) };
}

function literalFrom(token: IToken): Literal {
  switch (token.tokenType) {
    case IntLiteral:
      return { type: "int", value: parseInteger(token.image, token.startOffset) };
    case FloatLiteral:
      return { type: "float", value: parseFloatLiteral(token.image, token.startOffset) };
    case BoolLiteral:
      return { type: "bool", value: token.image.toLowerCase() === "true" };
    default:
      return { type: "string", value: parseString(token.image, token.startOffset) };
  }
}

function columnFrom(token: IToken, test: IToken | undefined): Expression {
  const column: Expression = {
    kind: "identifier",
    ...parsePath(token.image, token.startOffset),
    ...spanOf(token),
  };
  if (test === undefined) return column;
  return { kind: "nullTest", column, isNegated: test.tokenType === IsNotNull, start: column.start, end: endOf(test) };
}

function signed(sign: IToken, operand: Expression): Expression {
  const operator = sign.tokenType === Not ? "not" : (sign.image as "+" | "-" | "~");
  return { kind: "unary", operator, operand, start: sign.startOffset, end: operand.end };
}

const parser = new FilterParser();
