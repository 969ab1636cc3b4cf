/**
 * Geometries as well-known text (OGC): read, checked, and written in canonical form. Columns hold text in that form, so readers
 * can rely on it: words in capitals, points as `x y`, `, ` between them, every number as short as possible.
 */
import { endOfNumber, readNumber } from "./number.ts";

/** Most levels of collections in collections. */
const DEPTH_MAX = 16;

/** Longest text, as given and in canonical form: reading longer ones would hold up everybody else. */
export const WKT_BYTES_MAX = 1 << 19;

const WORD_CHARS_MAX = 18;

const KINDS = [
  "POINT",
  "LINESTRING",
  "POLYGON",
  "MULTIPOINT",
  "MULTILINESTRING",
  "MULTIPOLYGON",
  "GEOMETRYCOLLECTION",
] as const;
export type Kind = (typeof KINDS)[number];

/** Points one after the other, as many numbers each as there are axes. */
export type Points = number[];

export interface Wkt {
  readonly kind: Kind;
  /** Beside x and y: "", "Z", "M" or "ZM". */
  readonly axes: string;
  /**
   * One list for a POINT or LINESTRING; the rings of a POLYGON; one for each part of a MULTIPOINT or MULTILINESTRING. None if
   * it is EMPTY, or of another kind.
   */
  readonly lists: Points[];
  /** The rings of each part of a MULTIPOLYGON. */
  readonly polygons: Points[][];
  /** The parts of a GEOMETRYCOLLECTION. */
  readonly items: Wkt[];
}

class NotWkt extends Error {}

/** Undefined when the text is no geometry. */
export function readWkt(text: string): Wkt | undefined {
  if (text.length > WKT_BYTES_MAX) return undefined;
  const bytes = Buffer.from(text);
  return readWktBytes(bytes, 0, bytes.length);
}

/** Reads the bytes in [start, end). The byte after them must not continue a number. */
export function readWktBytes(bytes: Buffer, start: number, end: number): Wkt | undefined {
  if (end - start > WKT_BYTES_MAX) return undefined;
  try {
    const reader = new Reader(bytes, start, end);
    const wkt = geometry(reader, 0);
    reader.end();
    return wkt;
  } catch (error) {
    if (error instanceof NotWkt) return undefined;
    throw error;
  }
}

/** "POINT (1 2)" of " point(1.0 2)"; undefined when the text is no geometry. */
export function normalWkt(text: string): string | undefined {
  const wkt = readWkt(text);
  return wkt === undefined ? undefined : writeWkt(wkt);
}

/** How many numbers a point has. */
export function strideOf({ axes }: Wkt): number {
  return 2 + axes.length;
}

const SPACE = 0x20;
const OPEN = 0x28;
const CLOSE = 0x29;
const COMMA = 0x2c;
const PLUS = 0x2b;
const MINUS = 0x2d;
const DOT = 0x2e;
const UNDERSCORE = 0x5f;

class Reader {
  readonly #bytes: Buffer;
  readonly #end: number;
  #at: number;

  constructor(bytes: Buffer, start: number, end: number) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  /** The byte that comes next, after blanks; 0 at the end. */
  peek(): number {
    for (; this.#at < this.#end; this.#at++) {
      const byte = this.#bytes[this.#at]!;
      if (byte !== SPACE && !(byte >= 0x09 && byte <= 0x0d)) return byte;
    }
    return 0;
  }

  /** The word that comes next, in capitals; empty where there is none. */
  word(): string {
    this.peek();
    let word = "";
    while (this.#at < this.#end && isLetter(this.#bytes[this.#at]!) && word.length <= WORD_CHARS_MAX) {
      word += String.fromCharCode(this.#bytes[this.#at++]! & 0xdf);
    }
    return word;
  }

  number(): number {
    this.peek();
    const value = readNumber(this.#bytes, this.#at);
    this.#at = endOfNumber();
    if (!Number.isFinite(value) || this.#isGlued()) throw new NotWkt();
    // Zero has one form.
    return value + 0;
  }

  /** `1.2.3` is neither one number nor two. */
  #isGlued(): boolean {
    if (this.#at >= this.#end) return false;
    const byte = this.#bytes[this.#at]!;
    return isLetter(byte) || byte === DOT || byte === PLUS || byte === MINUS || byte === UNDERSCORE;
  }

  /** Whether the mark comes next; if so, it is consumed. */
  takes(mark: number): boolean {
    if (this.peek() !== mark) return false;
    this.#at++;
    return true;
  }

  expect(mark: number): void {
    if (!this.takes(mark)) throw new NotWkt();
  }

  end(): void {
    this.peek();
    if (this.#at < this.#end) throw new NotWkt();
  }
}

function isLetter(code: number): boolean {
  return (code >= 0x41 && code <= 0x5a) || (code >= 0x61 && code <= 0x7a);
}

function geometry(reader: Reader, depth: number): Wkt {
  const kind = reader.word() as Kind;
  if (!KINDS.includes(kind) || depth > DEPTH_MAX) throw new NotWkt();
  let word = reader.word();
  const axes = word === "EMPTY" ? "" : word;
  if (axes !== "" && axes !== "Z" && axes !== "M" && axes !== "ZM") throw new NotWkt();
  if (axes !== "") word = reader.word();
  const wkt: Wkt = { kind, axes, lists: [], polygons: [], items: [] };
  if (word === "") readBody(reader, wkt, depth);
  else if (word !== "EMPTY") throw new NotWkt();
  return wkt;
}

function readBody(reader: Reader, wkt: Wkt, depth: number): void {
  const { kind, lists, polygons, items } = wkt;
  const size = strideOf(wkt);
  switch (kind) {
    case "POINT":
      lists.push(points(reader, size, 1, 1));
      return;
    case "LINESTRING":
      lists.push(points(reader, size, 2));
      return;
    case "POLYGON":
      bracketed(reader, () => lists.push(ring(reader, size)));
      return;
    case "MULTIPOINT":
      // The points may stand in brackets, or not.
      bracketed(reader, () => {
        if (reader.peek() === OPEN) lists.push(points(reader, size, 1, 1));
        else lists.push(point(reader, size, []));
      });
      return;
    case "MULTILINESTRING":
      bracketed(reader, () => lists.push(points(reader, size, 2)));
      return;
    case "MULTIPOLYGON":
      bracketed(reader, () => {
        const rings: Points[] = [];
        bracketed(reader, () => rings.push(ring(reader, size)));
        polygons.push(rings);
      });
      return;
    case "GEOMETRYCOLLECTION":
      bracketed(reader, () => items.push(geometry(reader, depth + 1)));
  }
}

/** One item or more. */
function bracketed(reader: Reader, item: () => void): void {
  reader.expect(OPEN);
  do item();
  while (reader.takes(COMMA));
  reader.expect(CLOSE);
}

function points(reader: Reader, size: number, least: number, most = Number.POSITIVE_INFINITY): Points {
  const into: Points = [];
  bracketed(reader, () => point(reader, size, into));
  const count = into.length / size;
  if (count < least || count > most) throw new NotWkt();
  return into;
}

function point(reader: Reader, size: number, into: Points): Points {
  for (let i = 0; i < size; i++) into.push(reader.number());
  return into;
}

/** Ends where it begins. */
function ring(reader: Reader, size: number): Points {
  const into = points(reader, size, 4);
  for (let i = 0; i < size; i++) if (into[i] !== into[into.length - size + i]) throw new NotWkt();
  return into;
}

/** Without Z and M; the given geometry itself if it has none. */
export function flatWkt(wkt: Wkt): Wkt {
  if (isFlat(wkt)) return wkt;
  const size = strideOf(wkt);
  const flat = (list: Points) => (size === 2 ? list : list.filter((_, i) => i % size < 2));
  return {
    kind: wkt.kind,
    axes: "",
    lists: wkt.lists.map(flat),
    polygons: wkt.polygons.map((rings) => rings.map(flat)),
    items: wkt.items.map(flatWkt),
  };
}

function isFlat({ axes, items }: Wkt): boolean {
  return axes === "" && items.every(isFlat);
}

/** The geometry's text in canonical form. */
export function writeWkt(wkt: Wkt): string {
  const { kind, axes, lists, polygons, items } = wkt;
  const head = axes === "" ? kind : `${kind} ${axes}`;
  const size = strideOf(wkt);
  switch (kind) {
    case "POINT":
    case "LINESTRING":
      return lists.length === 0 ? `${head} EMPTY` : `${head} ${writtenPoints(lists[0]!, size)}`;
    case "MULTIPOLYGON":
      return polygons.length === 0
        ? `${head} EMPTY`
        : `${head} (${polygons.map((of) => writtenLists(of, size)).join(", ")})`;
    case "GEOMETRYCOLLECTION":
      return items.length === 0 ? `${head} EMPTY` : `${head} (${items.map(writeWkt).join(", ")})`;
    default:
      return lists.length === 0 ? `${head} EMPTY` : `${head} ${writtenLists(lists, size)}`;
  }
}

function writtenLists(lists: Points[], size: number): string {
  return `(${lists.map((list) => writtenPoints(list, size)).join(", ")})`;
}

function writtenPoints(list: Points, size: number): string {
  let text = `(${list[0]}`;
  for (let i = 1; i < list.length; i++) text += i % size === 0 ? `, ${list[i]}` : ` ${list[i]}`;
  return `${text})`;
}
