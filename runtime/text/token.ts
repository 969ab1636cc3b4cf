/** A token of a text: what full-text search compares. */
export interface Token {
  text: string;
  /** Where it came from, in UTF-16 units of the text: [start, end). */
  start: number;
  end: number;
  /** Counted by the tokenizer. Filters that drop tokens leave gaps, so that phrases keep their distances. */
  position: number;
}

/** A copy of a token to keep: a token may be a view of its text, which would be kept with it. */
export function ownText(token: string): string {
  return Buffer.from(token, "utf16le").toString("utf16le");
}

/** Finds the tokens of a text, in order. */
export type Tokenizer = (text: string) => Token[];

/** Changes or drops tokens. May change the tokens that it is given. */
export type TokenFilter = (tokens: Token[]) => Token[];
