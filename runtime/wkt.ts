/** Geometries as well-known text (OGC): read, checked, and written in one form. */

/** Collections in collections. */
const DEPTH_MAX = 16;

const TOKEN = /\s*(?:([A-Za-z]+)|([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|([(),]))/y;

/** What no number ends before: `1.2.3` is none, nor two. */
const GLUED = /[\w.+-]/;

/** Of a list: how each item is read. */
const KINDS = ["POINT", "LINESTRING", "POLYGON", "MULTIPOINT", "MULTILINESTRING", "MULTIPOLYGON", "GEOMETRYCOLLECTION"];
type Kind =
  | "POINT"
  | "LINESTRING"
  | "POLYGON"
  | "MULTIPOINT"
  | "MULTILINESTRING"
  | "MULTIPOLYGON"
  | "GEOMETRYCOLLECTION";

class NotWkt extends Error {}

/** "POINT (1 2)" of " point(1.0 2)"; undefined when the text is no geometry. */
export function normalWkt(text: string): string | undefined {
  try {
    const reader = new Reader(text);
    const normal = geometry(reader, 0);
    reader.end();
    return normal;
  } catch (error) {
    if (error instanceof NotWkt) return undefined;
    throw error;
  }
}

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** The next token, if it is a word (in capitals), a number or a mark. */
  next(): { word?: string; number?: number; mark?: string } {
    TOKEN.lastIndex = this.#at;
    const match = TOKEN.exec(this.#text);
    if (match === null) throw new NotWkt();
    this.#at = TOKEN.lastIndex;
    const [, word, number, mark] = match;
    if (word !== undefined) return { word: word.toUpperCase() };
    // Not by the expression, which would try every shorter number as well.
    if (number !== undefined && GLUED.test(this.#text[this.#at] ?? "")) throw new NotWkt();
    return number === undefined ? { mark: mark! } : { number: finite(Number(number)) };
  }

  peek(): ReturnType<Reader["next"]> {
    const at = this.#at;
    const token = this.next();
    this.#at = at;
    return token;
  }

  expect(mark: string): void {
    if (this.next().mark !== mark) throw new NotWkt();
  }

  end(): void {
    if (this.#text.slice(this.#at).trim() !== "") throw new NotWkt();
  }
}

function finite(value: number): number {
  if (!Number.isFinite(value)) throw new NotWkt();
  return value;
}

function geometry(reader: Reader, depth: number): string {
  const { word } = reader.next();
  if (word === undefined || !KINDS.includes(word) || depth > DEPTH_MAX) throw new NotWkt();
  const axes = reader.peek().word;
  const size = axes === "Z" || axes === "M" ? 3 : axes === "ZM" ? 4 : 2;
  if (size > 2) reader.next();
  const head = size > 2 ? `${word} ${axes}` : word;
  if (reader.peek().word === "EMPTY") {
    reader.next();
    return `${head} EMPTY`;
  }
  return `${head} ${body(reader, word as Kind, size, depth)}`;
}

function body(reader: Reader, kind: Kind, size: number, depth: number): string {
  switch (kind) {
    case "POINT":
      return bracketed(reader, () => point(reader, size), 1, 1);
    case "LINESTRING":
      return line(reader, size);
    case "POLYGON":
      return polygon(reader, size);
    case "MULTIPOINT":
      return bracketed(reader, () => bracketedPoint(reader, size));
    case "MULTILINESTRING":
      return bracketed(reader, () => line(reader, size));
    case "MULTIPOLYGON":
      return bracketed(reader, () => polygon(reader, size));
    case "GEOMETRYCOLLECTION":
      return bracketed(reader, () => geometry(reader, depth + 1));
  }
}

function bracketed(reader: Reader, item: () => string, min = 1, max = Number.POSITIVE_INFINITY): string {
  const items: string[] = [];
  reader.expect("(");
  for (;;) {
    items.push(item());
    const { mark } = reader.next();
    if (mark === ")") break;
    if (mark !== "," || items.length >= max) throw new NotWkt();
  }
  if (items.length < min) throw new NotWkt();
  return `(${items.join(", ")})`;
}

function line(reader: Reader, size: number): string {
  return bracketed(reader, () => point(reader, size), 2);
}

/** Rings, each of which ends where it begins. */
function polygon(reader: Reader, size: number): string {
  return bracketed(reader, () => {
    const points: string[] = [];
    const ring = bracketed(
      reader,
      () => {
        points.push(point(reader, size));
        return points.at(-1)!;
      },
      4,
    );
    if (points[0] !== points.at(-1)) throw new NotWkt();
    return ring;
  });
}

/** The points of a MULTIPOINT may stand in brackets, or not. */
function bracketedPoint(reader: Reader, size: number): string {
  if (reader.peek().mark !== "(") return `(${point(reader, size)})`;
  return bracketed(reader, () => point(reader, size), 1, 1);
}

function point(reader: Reader, size: number): string {
  const numbers: number[] = [];
  while (numbers.length < size) {
    const { number } = reader.next();
    if (number === undefined) throw new NotWkt();
    numbers.push(number + 0);
  }
  return numbers.join(" ");
}
