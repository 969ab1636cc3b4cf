/**
 * For tests: random filters and rows, and what each filter means for one row, in three-valued logic. It shares nothing
 * with the evaluator but the text of the filter: each part of the generator says what it means by itself.
 */
import fc from "fast-check";
import { addInterval, formatTimestamptz } from "../timestamptz.ts";
import type { Row } from "./filter-fixture.ts";

/** TRUE, FALSE, UNKNOWN. */
type Verdict = boolean | null;
/** A condition as text and as what it means for one row. */
export interface Condition {
  text: string;
  test: (row: Row) => Verdict;
}
type Value = bigint | number | string | boolean;
/** What yields a value of a row (undefined is none), as text and as meaning. */
interface Source {
  text: string;
  read: (row: Row) => unknown;
}

const INTS = ["i8", "i16", "i32", "i64", "id"] as const;
const OPERATORS = ["==", "!=", "<", "<=", ">", ">="] as const;
type Op = (typeof OPERATORS)[number];

const small = fc.bigInt({ min: -4n, max: 4n });
const int64 = fc.oneof(
  { weight: 4, arbitrary: small },
  fc.constantFrom(
    2n ** 53n,
    2n ** 53n + 1n,
    -(2n ** 53n) - 1n,
    2n ** 63n - 1n,
    -(2n ** 63n),
    2n ** 32n,
    -(2n ** 32n) + 1n,
  ),
);
const real = fc.constantFrom(0, -0, 0.1, -0.1, 0.5, 1, -2.5, 3, 1e20);
const text = fc.string({ unit: fc.constantFrom("a", "b", "é", "😀", "%", "_", "\uff5e"), maxLength: 4 });
const jsonLeaf = fc.oneof(
  fc.integer({ min: -3, max: 3 }),
  fc.constantFrom(0.5, 1.5, 1e19),
  text,
  fc.boolean(),
  fc.constant(null),
);
const jsonValue = fc.oneof(
  { weight: 4, arbitrary: jsonLeaf },
  fc.array(fc.oneof(jsonLeaf, fc.array(jsonLeaf, { maxLength: 2 })), { maxLength: 3 }),
  fc.dictionary(fc.constantFrom("p", "q"), jsonLeaf, { maxKeys: 2 }),
);
const document = fc
  .dictionary(fc.constantFrom("p", "q", "r"), jsonValue, { maxKeys: 3 })
  .map((value) => JSON.stringify(value));

const DAY_US = 86_400_000_000n;
/** Around the ends of months, of leap years too. */
const time = fc
  .tuple(fc.bigInt({ min: -2n, max: 2n }), fc.constantFrom(19_722n, 19_753n, 19_782n, 0n, -1n))
  .map(([hours, day]) => day * DAY_US + hours * 3_600_000_000n);
const sentence = fc
  .array(fc.constantFrom("red", "Green", "blue", "the"), { maxLength: 6 })
  .map((words) => words.join(" "));

const orNull = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: null, freq: 4 });
export const row: fc.Arbitrary<Row> = fc.record({
  id: int64,
  flag: orNull(fc.boolean()),
  i8: orNull(small),
  i16: orNull(small),
  i32: orNull(fc.oneof(small, fc.constantFrom(2n ** 31n - 1n, -(2n ** 31n)))),
  i64: orNull(int64),
  f: orNull(real.map(Math.fround)),
  d: orNull(real),
  s: orNull(text),
  t: orNull(text),
  doc: orNull(document),
  nums: orNull(fc.array(int64, { maxLength: 3 })),
  tags: orNull(fc.array(text, { maxLength: 3 })),
  reals: orNull(fc.array(real.map(Math.fround), { maxLength: 3 })),
  $meta: orNull(document),
  ts: orNull(time),
  body: orNull(sentence),
  flags: orNull(fc.array(fc.boolean(), { maxLength: 3 })),
});

function literal(value: Value): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value !== "number") return String(value);
  const shown = Object.is(value, -0) ? "-0.0" : String(value);
  return Number.isInteger(value) && !shown.includes("e") && !shown.includes(".") ? `${shown}.0` : shown;
}

/** The order of two values of one class; undefined when they are not. */
function order(a: unknown, b: unknown): number | undefined {
  const isNumber = (x: unknown) => typeof x === "number" || typeof x === "bigint";
  if (isNumber(a) && isNumber(b)) return (a as number) < (b as number) ? -1 : (a as number) > (b as number) ? 1 : 0;
  if (typeof a === "boolean" && typeof b === "boolean") return Number(a) - Number(b);
  if (typeof a !== "string" || typeof b !== "string") return undefined;
  const [x, y] = [[...a].map((c) => c.codePointAt(0)!), [...b].map((c) => c.codePointAt(0)!)];
  for (let i = 0; i < Math.min(x.length, y.length); i++) if (x[i] !== y[i]) return x[i]! - y[i]!;
  return x.length - y.length;
}

function relation(a: unknown, op: Op, b: unknown): Verdict {
  const o = order(a, b);
  if (o === undefined) return null;
  return { "==": o === 0, "!=": o !== 0, "<": o < 0, "<=": o <= 0, ">": o > 0, ">=": o >= 0 }[op];
}

export function not(v: Verdict): Verdict {
  return v === null ? null : !v;
}

function all(verdicts: Verdict[]): Verdict {
  return verdicts.includes(false) ? false : verdicts.includes(null) ? null : true;
}

function any(verdicts: Verdict[]): Verdict {
  return not(all(verdicts.map(not)));
}

const column = (name: string): Source => ({ text: name, read: (r) => r[name] ?? undefined });
const element = (name: string, i: number): Source => ({
  text: `${name}[${i}]`,
  read: (r) => (r[name] as Value[] | null)?.[i],
});

/** A typed source with the constants that it takes. */
const typed: fc.Arbitrary<{ source: Source; constant: fc.Arbitrary<Value>; isNumber: boolean; isInt: boolean }> =
  fc.oneof(
    fc.constantFrom(...INTS).map((n) => ({ source: column(n), constant: int64, isNumber: true, isInt: true })),
    fc.constantFrom("f", "d").map((n) => ({
      source: column(n),
      constant: real.map((x) => (n === "f" ? Math.fround(x) : x)),
      isNumber: true,
      isInt: false,
    })),
    fc.constantFrom("s", "t").map((n) => ({ source: column(n), constant: text, isNumber: false, isInt: false })),
    fc.nat(2).map((i) => ({ source: element("nums", i), constant: int64, isNumber: true, isInt: true })),
    fc.nat(2).map((i) => ({ source: element("tags", i), constant: text, isNumber: false, isInt: false })),
    fc.nat(2).map((i) => ({
      source: element("reals", i),
      constant: real.map(Math.fround),
      isNumber: true,
      isInt: false,
    })),
  );

const FLIP: Record<Op, Op> = { "==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<=" };

const comparison: fc.Arbitrary<Condition> = typed.chain(({ source, constant }) =>
  fc.tuple(fc.constantFrom(...OPERATORS), constant, fc.boolean()).map(([op, value, isFlipped]) => ({
    text: isFlipped ? `${literal(value)} ${FLIP[op]} ${source.text}` : `${source.text} ${op} ${literal(value)}`,
    test: (r) => relation(source.read(r), op, value),
  })),
);

const range: fc.Arbitrary<Condition> = typed.chain(({ source, constant }) =>
  fc
    .tuple(constant, constant, fc.boolean(), fc.boolean(), fc.boolean())
    .filter(([a, b]) => order(a, b) !== 0)
    .map(([a, b, withLower, withUpper, isDown]) => {
      const [lower, upper] = order(a, b)! < 0 ? [a, b] : [b, a];
      const up = `${literal(lower)} ${withLower ? "<=" : "<"} ${source.text} ${withUpper ? "<=" : "<"} ${literal(upper)}`;
      const down = `${literal(upper)} ${withUpper ? ">=" : ">"} ${source.text} ${withLower ? ">=" : ">"} ${literal(lower)}`;
      return {
        text: isDown ? down : up,
        test: (r) =>
          all([
            relation(source.read(r), withLower ? ">=" : ">", lower),
            relation(source.read(r), withUpper ? "<=" : "<", upper),
          ]),
      };
    }),
);

function among(value: unknown, list: unknown[]): Verdict {
  return any(list.map((item) => relation(value, "==", item)));
}

const membership: fc.Arbitrary<Condition> = typed.chain(({ source, constant }) =>
  fc.tuple(fc.array(constant, { minLength: 1, maxLength: 5 }), fc.boolean()).map(([list, isNegated]) => ({
    text: `${source.text} ${isNegated ? "not in" : "in"} [${list.map(literal).join(", ")}]`,
    test: (r) => (isNegated ? not(among(source.read(r), list)) : among(source.read(r), list)),
  })),
);

/** Division and remainder truncate for integers; everything else is as in mathematics. */
function calculate(value: unknown, op: string, by: bigint | number): unknown {
  if (value === undefined) return undefined;
  if (typeof value === "bigint" && typeof by === "bigint") {
    return { "+": value + by, "-": value - by, "*": value * by, "/": value / by, "%": value % by }[op];
  }
  const [x, y] = [Number(value), Number(by)];
  return { "+": x + y, "-": x - y, "*": x * y, "/": x / y }[op];
}

const arithmetic: fc.Arbitrary<Condition> = typed
  .filter(({ isNumber }) => isNumber)
  .chain(({ source, isInt }) => {
    const by = isInt ? int64.filter((x) => x !== 0n) : real.filter((x) => x !== 0);
    const result = isInt ? int64 : real;
    const operator = fc.constantFrom("+", "-", "*", "/", ...(isInt ? ["%"] : []));
    return fc.tuple(operator, by as fc.Arbitrary<bigint | number>, fc.constantFrom(...OPERATORS), result).map(
      ([op, constant, relate, value]): Condition => ({
        text: `${source.text} ${op} ${literal(constant)} ${relate} ${literal(value)}`,
        test: (r) => relation(calculate(source.read(r), op, constant), relate, value),
      }),
    );
  });

/** LIKE as a regular expression over code points. */
function likePattern(pattern: string): RegExp {
  const parts = [...pattern.matchAll(/\\(.)|%|_|[^\\]/gsu)].map(([whole, escaped]) =>
    whole === "%" ? ".*" : whole === "_" ? "." : (escaped ?? whole).replace(/[.*+?^${}()|[\]\\]/g, "\\$&"),
  );
  return new RegExp(`^${parts.join("")}$`, "su");
}

const pattern = fc.string({
  unit: fc.constantFrom("a", "b", "é", "😀", "%", "%", "_", "\\%", "\\_", "\\\\"),
  maxLength: 5,
});
export const like: fc.Arbitrary<Condition> = fc
  .tuple(fc.constantFrom(column("s"), column("t"), element("tags", 0)), pattern)
  .map(([source, p]) => ({
    text: `${source.text} like ${JSON.stringify(p)}`,
    test: (r) => {
      const value = source.read(r);
      return value === undefined ? null : likePattern(p).test(value as string);
    },
  }));

const columns: fc.Arbitrary<Condition> = fc
  .tuple(
    fc.oneof(
      fc.tuple(fc.constantFrom(...INTS), fc.constantFrom(...INTS)),
      fc.tuple(fc.constantFrom("s", "t"), fc.constantFrom("s", "t")),
      fc.tuple(fc.constantFrom("f", "d"), fc.constantFrom("f", "d", "i8", "i32")),
    ),
    fc.constantFrom(...OPERATORS),
  )
  .map(([[a, b], op]) => ({
    text: `${a} ${op} ${b}`,
    test: (r) => relation(column(a).read(r), op, column(b).read(r)),
  }));

const nullTest: fc.Arbitrary<Condition> = fc
  .tuple(fc.constantFrom("i8", "i64", "d", "s", "flag", "doc", "nums", "ts", "body"), fc.boolean())
  .map(([name, isNegated]) => ({
    text: `${name} ${isNegated ? "is not null" : "is null"}`,
    test: (r) => (r[name] === null) !== isNegated,
  }));

const flag: fc.Arbitrary<Condition> = fc.constantFrom(
  { text: "flag", test: (r: Row) => r.flag as Verdict },
  { text: "flag == false", test: (r: Row) => not(r.flag as Verdict) },
  { text: "flag in [true]", test: (r: Row) => r.flag as Verdict },
);

const CONTAINS = ["contains", "contains_all", "contains_any"] as const;

function holds(items: Value[], mode: (typeof CONTAINS)[number], list: Value[]): boolean {
  const isHeld = (value: Value) => items.some((item) => order(item, value) === 0);
  return mode === "contains_all" ? list.every(isHeld) : list.some(isHeld);
}

const arrays: fc.Arbitrary<Condition> = fc
  .constantFrom(["nums", int64] as const, ["tags", text] as const, ["reals", real.map(Math.fround)] as const)
  .chain(([name, constant]) =>
    fc
      .tuple(
        fc.array(constant as fc.Arbitrary<Value>, { minLength: 1, maxLength: 3 }),
        fc.constantFrom("==", "!=", "length", ...CONTAINS),
      )
      .map(([list, op]): Condition => {
        const known = (test: (items: Value[]) => boolean) => (r: Row) =>
          r[name] === null ? null : test(r[name] as Value[]);
        const shown = `[${list.map(literal).join(", ")}]`;
        if (op === "length")
          return { text: `array_length(${name}) < ${list.length}`, test: known((items) => items.length < list.length) };
        if (op === "==" || op === "!=") {
          const isEqual = (items: Value[]) =>
            items.length === list.length && items.every((item, i) => order(item, list[i]) === 0);
          return { text: `${name} ${op} ${shown}`, test: known((items) => isEqual(items) === (op === "==")) };
        }
        const used = op === "contains" ? list.slice(0, 1) : list;
        return {
          text: `array_${op}(${name}, ${op === "contains" ? literal(list[0]!) : shown})`,
          test: known((items) => holds(items, op, used)),
        };
      }),
  );

/** A path into `doc`, or a dynamic key. */
const path: fc.Arbitrary<Source & { field: "doc" | "$meta" }> = fc
  .tuple(
    fc.constantFrom("doc", "$meta"),
    fc.array(fc.constantFrom<string | number>("p", "q", 0, 1), { maxLength: 1 }),
    fc.constantFrom("p", "q", "r"),
  )
  .map(([field, rest, key]) => {
    const parts = [key, ...rest];
    return {
      field: field as "doc" | "$meta",
      text: `${field}${parts.map((part) => `[${JSON.stringify(part)}]`).join("")}`,
      read: (r) => {
        let value: unknown = r[field] === null ? undefined : JSON.parse(r[field] as string);
        for (const part of parts) {
          const isFitting =
            typeof part === "number"
              ? Array.isArray(value)
              : typeof value === "object" && value !== null && !Array.isArray(value);
          value = isFitting ? (value as Record<string | number, unknown>)[part] : undefined;
        }
        return value ?? undefined;
      },
    };
  });

function something(value: unknown): boolean {
  if (value === null || value === undefined) return false;
  return typeof value === "object" ? Object.values(value).some(something) : true;
}

const jsonConstant: fc.Arbitrary<Value> = fc.oneof(small, fc.constantFrom(0.5, 1.5, 1e19), text, fc.boolean());

const jsons: fc.Arbitrary<Condition> = path.chain((source) =>
  fc
    .tuple(
      fc.constantFrom("compare", "in", "like", "exists", "null", "contains", "all", "length", "plus"),
      jsonConstant,
      fc.constantFrom(...OPERATORS),
      fc.array(jsonConstant, { minLength: 1, maxLength: 3 }),
      pattern,
    )
    .map(([kind, value, op, list, p]): Condition => {
      const { text: at, read } = source;
      const shown = `[${list.map(literal).join(", ")}]`;
      const items = (r: Row, test: (items: Value[]) => boolean) => {
        const found = read(r);
        return Array.isArray(found) ? test(found) : null;
      };
      switch (kind) {
        case "compare": {
          const used = typeof value === "boolean" && op !== "==" ? "!=" : op;
          return { text: `${at} ${used} ${literal(value)}`, test: (r) => relation(read(r), used, value) };
        }
        case "in":
          return { text: `${at} in ${shown}`, test: (r) => jsonAmong(read(r), list) };
        case "like":
          return {
            text: `${at} like ${JSON.stringify(p)}`,
            test: (r) => {
              const found = read(r);
              return typeof found === "string" ? likePattern(p).test(found) : null;
            },
          };
        case "exists":
          return {
            text: `exists ${at}`,
            test: (r) => (r[source.field] === null && source.field === "doc" ? null : something(read(r))),
          };
        case "null":
          return { text: `${at} is null`, test: (r) => !something(read(r)) };
        case "contains":
          return {
            text: `json_contains(${at}, ${literal(value)})`,
            test: (r) => items(r, (found) => holds(found, "contains", [value])),
          };
        case "all":
          return {
            text: `json_contains_all(${at}, ${shown})`,
            test: (r) => items(r, (found) => holds(found, "contains_all", list)),
          };
        case "length":
          return {
            text: `array_length(${at}) == ${list.length}`,
            test: (r) => items(r, (found) => found.length === list.length),
          };
        default:
          return {
            text: `${at} + 1.5 ${op} 2`,
            test: (r) => {
              const found = read(r);
              return typeof found === "number" ? relation(found + 1.5, op, 2) : null;
            },
          };
      }
    }),
);

/** A value of a class that the list does not have is unknown, not absent. */
function jsonAmong(value: unknown, list: Value[]): Verdict {
  const fitting = list.filter((item) => order(value, item) !== undefined);
  return fitting.length === 0 ? null : among(value, fitting);
}

const OPERATOR_TESTS: Record<Op, (o: number) => boolean> = {
  "==": (o) => o === 0,
  "!=": (o) => o !== 0,
  "<": (o) => o < 0,
  "<=": (o) => o <= 0,
  ">": (o) => o > 0,
  ">=": (o) => o >= 0,
};

const times: fc.Arbitrary<Condition> = fc
  .tuple(
    time,
    fc.constantFrom(...OPERATORS),
    fc.constantFrom(0, 1, -1, 13),
    fc.constantFrom(0, 1, -30),
    fc.boolean(),
    fc.constantFrom("UTC", "Asia/Shanghai"),
  )
  .map(([constant, op, months, days, isFlipped, zone]) => {
    const iso = `ISO '${formatTimestamptz(constant, zone)}'`;
    const sign = months < 0 || (months === 0 && days < 0) ? -1 : 1;
    const duration = `P${months === 0 ? "" : `${Math.abs(months)}M`}${days * sign > 0 ? `${Math.abs(days)}D` : ""}`;
    const by = { months, us: days * sign > 0 ? BigInt(days) * DAY_US : 0n };
    const moved = duration === "P" ? "ts" : `ts ${sign < 0 ? "-" : "+"} INTERVAL '${duration}'`;
    return {
      text: isFlipped ? `${iso} ${FLIP[op]} ${moved}` : `${moved} ${op} ${iso}`,
      test: (r) => {
        if (r.ts === null) return null;
        const value = addInterval(r.ts as bigint, duration === "P" ? { months: 0, us: 0 } : by);
        return OPERATOR_TESTS[op](value < constant ? -1 : value > constant ? 1 : 0);
      },
    };
  });

const tokens = (text: string) =>
  text
    .toLowerCase()
    .split(" ")
    .filter((word) => word !== "");

const matches: fc.Arbitrary<Condition> = fc
  .tuple(sentence, fc.constantFrom<number | "phrase">(1, 2, "phrase"))
  .map(([wanted, kind]) => {
    const words = tokens(wanted);
    const known = (test: (found: string[]) => boolean) => (r: Row) =>
      r.body === null ? null : test(tokens(r.body as string));
    if (kind === "phrase") {
      const isAt = (found: string[], start: number) => words.every((word, i) => found[start + i] === word);
      return {
        text: `phrase_match(body, '${wanted}')`,
        test: known((found) => words.length > 0 && found.some((_, start) => isAt(found, start))),
      };
    }
    return {
      text: `text_match(body, '${wanted}', minimum_should_match = ${kind})`,
      test: known((found) => new Set(words.filter((word) => found.includes(word))).size >= kind),
    };
  });

const flagElement: fc.Arbitrary<Condition> = fc.nat(2).map((i) => ({
  text: `flags[${i}]`,
  test: (r) => ((r.flags as boolean[] | null)?.[i] ?? null) as Verdict,
}));

export const leaf = fc.oneof(
  times,
  matches,
  flagElement,
  comparison,
  range,
  membership,
  arithmetic,
  like,
  columns,
  nullTest,
  flag,
  arrays,
  jsons,
);

export const { condition } = fc.letrec<{ condition: Condition }>((tie) => ({
  condition: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    leaf,
    fc.tuple(fc.array(tie("condition"), { minLength: 2, maxLength: 3 }), fc.constantFrom("and", "&&", "or", "||")).map(
      ([items, word]): Condition => ({
        text: items.map((item) => `(${item.text})`).join(` ${word} `),
        test: (r) => (word === "and" || word === "&&" ? all : any)(items.map((item) => item.test(r))),
      }),
    ),
    tie("condition").map((item): Condition => ({ text: `not (${item.text})`, test: (r) => not(item.test(r)) })),
  ),
}));
