/** A token of a text: what full-text search compares. */
export interface Token {
  text: string;
  /** Where it came from, in UTF-16 units of the text: [start, end). */
  start: number;
  end: number;
  /** Counted by the tokenizer. Filters that drop tokens leave gaps, so that phrases keep their distances. */
  position: number;
}

/** Finds the tokens of a text, in order. */
export type Tokenizer = (text: string) => Token[];

/** Changes or drops tokens. May change the tokens that it is given. */
export type TokenFilter = (tokens: Token[]) => Token[];
