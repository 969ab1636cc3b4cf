/**
 * Text of a filter to its syntax tree.
 *
 * The grammar is Milvus 2.6's. The levels of precedence between two operands are not grammar rules but one table:
 * `expression` reads a flat run of operands and operators, and `bind` (precedence.ts) then joins them. Each word is read
 * once: a thousand clauses take about a millisecond.
 */
import type { Expression, Literal } from "./ast.ts";
import { ExpressionError } from "./expression-error.ts";
import { META, readWord, type Word, type WordKind } from "./lexer.ts";
import { parseFloatLiteral, parseInteger, parsePath, parseString } from "./literal.ts";
import { bind, type Link } from "./precedence.ts";

/** Most levels of brackets and signs. The parser and the planner recurse: this keeps them far from the end of the stack. */
const NESTING_MAX = 100;

/** Most operators. Each takes some microseconds to plan and to evaluate: more would hold up everybody else. Lists may be longer. */
const JOINTS_MAX = 8_192;

/** Most operators in one run, without AND and OR (those make flat nodes, the others a tree as deep as the run). */
const OPERATOR_RUN_MAX = 256;

/** Characters shown of an unexpected word. */
const SHOWN_MAX = 60;

/**
 * The tree of a filter. Blank text is not a filter: callers handle it.
 * @throws ExpressionError with the place of the first fault
 */
export function parseFilter(text: string): Expression {
  return new Parser(text).filter();
}

class Parser {
  readonly #text: string;
  #word: Word;
  /** The word after the present one, if it has been read. */
  #next: Word | undefined;
  #depth = 0;
  #joints = 0;

  constructor(text: string) {
    this.#text = text;
    this.#word = readWord(text, 0);
  }

  filter(): Expression {
    const tree = this.#expression();
    if (this.#word.kind === "end") return tree;
    return this.#refuse("an operator or the end of the expression");
  }

  /** Returns the present word and moves on to the next one. */
  #take(): Word {
    const word = this.#word;
    this.#word = this.#next ?? readWord(this.#text, word.end);
    this.#next = undefined;
    return word;
  }

  #takeOnly(kind: WordKind, label: string = kind): Word {
    return this.#word.kind === kind ? this.#take() : this.#refuse(label);
  }

  #peek(): WordKind {
    this.#next ??= readWord(this.#text, this.#word.end);
    return this.#next.kind;
  }

  #refuse(expected: string): never {
    const { kind, text, start } = this.#word;
    const shown = text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}…` : text;
    const found = kind === "end" ? "end of expression" : `'${shown}'`;
    const hint = kind === "=" ? ", equality is written '=='" : "";
    throw new ExpressionError(`unexpected ${found}${hint}, expected ${expected}`, start);
  }

  #expression(): Expression {
    const first = this.#operand();
    const links: Link[] = [];
    let run = 0;
    for (;;) {
      const { kind } = this.#word;
      const isJoint = kind === "and" || kind === "or";
      run = isJoint ? 0 : run + 1;
      if (isJoint && ++this.#joints > JOINTS_MAX) return this.#refuseJoints();
      if (isJoint || kind === "operator" || kind === "sign") {
        if (run > OPERATOR_RUN_MAX) return this.#refuseRun();
        const operator = this.#take().text;
        links.push({ operator, right: this.#operand() });
        continue;
      }
      const isNegated = kind === "not" && this.#peek() === "in";
      if (kind !== "in" && !isNegated) return bind(first, links);
      if (run > OPERATOR_RUN_MAX) return this.#refuseRun();
      if (isNegated) this.#take();
      this.#take();
      links.push({ isNegated, list: this.#list() });
    }
  }

  #refuseJoints(): never {
    const message = `expression with more than ${JOINTS_MAX} times and / or is too long: give values that are sought as a list or a template`;
    throw new ExpressionError(message, this.#word.start);
  }

  #refuseRun(): never {
    throw new ExpressionError(`more than ${OPERATOR_RUN_MAX} operators in one run`, this.#word.start);
  }

  #refuseNesting(): never {
    throw new ExpressionError(`expression is nested deeper than ${NESTING_MAX} levels`, this.#word.start);
  }

  /** Signs, then an operand that LIKE, `**`, EXISTS and null tests have already taken. */
  #operand(): Expression {
    if (++this.#depth > NESTING_MAX) return this.#refuseNesting();
    const node = isSign(this.#word.kind) ? signed(this.#take(), this.#operand()) : this.#power();
    this.#depth--;
    return node;
  }

  #power(): Expression {
    let left = this.#match();
    for (let count = 1; this.#word.kind === "**"; count++) {
      if (count > OPERATOR_RUN_MAX) return this.#refuseNesting();
      this.#take();
      // A sign is allowed here: 2 ** -1.
      const right = isSign(this.#word.kind) ? signed(this.#take(), this.#match()) : this.#match();
      left = { kind: "arithmetic", operator: "**", left, right, start: left.start, end: right.end };
    }
    return left;
  }

  #match(): Expression {
    const left = this.#existence();
    if (this.#word.kind !== "like") return left;
    this.#take();
    const pattern = this.#existence();
    return { kind: "like", left, pattern, start: left.start, end: pattern.end };
  }

  #existence(): Expression {
    if (this.#word.kind !== "exists") return this.#primary();
    const { start } = this.#take();
    const operand = this.#primary();
    return { kind: "exists", operand, start, end: operand.end };
  }

  #primary(): Expression {
    const { kind } = this.#word;
    switch (kind) {
      case "int":
      case "float":
      case "string":
      case "bool": {
        const word = this.#take();
        return { kind: "literal", literal: literalFrom(word), start: word.start, end: word.end };
      }
      case "list":
      case "[":
        return this.#array();
      case "{":
        return this.#template();
      case "time":
        return this.#time();
      case "(":
        return this.#parenthesised();
      case "identifier":
        return this.#peek() === "(" ? this.#call() : this.#column();
      case "path":
        return this.#column();
      default:
        return this.#refuse("a field, a constant or an expression");
    }
  }

  #parenthesised(): Expression {
    const { start } = this.#take();
    const inner = this.#expression();
    const { end } = this.#takeOnly(")");
    return { ...inner, start, end };
  }

  #list(): Expression {
    const { kind } = this.#word;
    if (kind === "{") return this.#template();
    return kind === "list" || kind === "["
      ? this.#array()
      : this.#refuse("a list such as [1, 2] or a template such as {ids}");
  }

  #array(): Expression {
    const { list, start, end } = this.#take();
    if (list !== undefined) return { kind: "list", values: list.values, floats: list.floats, start, end };
    const items: Expression[] = [];
    while (this.#word.kind !== "]") {
      items.push(this.#expression());
      if (this.#word.kind !== ",") break;
      this.#take();
    }
    const close = this.#takeOnly("]");
    return { kind: "array", items, start, end: close.end };
  }

  #template(): Expression {
    const { start } = this.#take();
    if (this.#word.text === META) return this.#refuse("an identifier");
    const { text } = this.#takeOnly("identifier", "an identifier");
    const { end } = this.#takeOnly("}");
    return { kind: "template", name: text, start, end };
  }

  #time(): Expression {
    const word = this.#take();
    const text = this.#takeOnly("string", "a string");
    return {
      kind: "time",
      unit: word.text.toLowerCase() as "iso" | "interval",
      text: parseString(text.text, text.start),
      start: word.start,
      end: text.end,
    };
  }

  #call(): Expression {
    const { text: name, start } = this.#take();
    this.#take();
    const args: Expression[] = [];
    const options: { name: string; value: Expression }[] = [];
    while (this.#word.kind !== ")" || args.length + options.length > 0) {
      const option = this.#word.kind === "identifier" && this.#peek() === "=" ? this.#take().text : undefined;
      if (option !== undefined) this.#take();
      const value = this.#expression();
      if (option === undefined) args.push(value);
      else options.push({ name: option, value });
      if (this.#word.kind !== ",") break;
      this.#take();
    }
    const { end } = this.#takeOnly(")");
    return { kind: "call", name, args, options, start, end };
  }

  #column(): Expression {
    const { text, start, end } = this.#take();
    const column: Expression = { kind: "identifier", ...parsePath(text, start), start, end };
    const { kind } = this.#word;
    if (kind !== "is null" && kind !== "is not null") return column;
    return { kind: "nullTest", column, isNegated: kind === "is not null", start, end: this.#take().end };
  }
}

function isSign(kind: WordKind): boolean {
  return kind === "sign" || kind === "not" || kind === "~";
}

function literalFrom({ kind, text, start }: Word): Literal {
  switch (kind) {
    case "int":
      return { type: "int", value: parseInteger(text, start) };
    case "float":
      return { type: "float", value: parseFloatLiteral(text, start) };
    case "bool":
      return { type: "bool", value: text.toLowerCase() === "true" };
    default:
      return { type: "string", value: parseString(text, start) };
  }
}

function signed(sign: Word, operand: Expression): Expression {
  const operator = sign.kind === "not" ? "not" : (sign.text as "+" | "-" | "~");
  return { kind: "unary", operator, operand, start: sign.start, end: operand.end };
}
