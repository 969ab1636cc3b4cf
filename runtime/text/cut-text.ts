/** Long texts cut where every tokenizer ends a word anyway, so that no tokenizer holds the event loop with one. */

/** Characters of a piece: a hundred or two words, whose stems take some milliseconds. */
const PIECE = 1_024;

/** What changes the character before it belongs to that one's word. */
const SPACE = /\s(?![\p{M}\p{Cf}])/gu;
/** Chinese has no spaces. No tokenizer but that by white space has words across these. */
const SPACE_OR_STOP = /[\s\u3001\u3002\uff01\uff0c\uff1b\uff1f](?![\p{M}\p{Cf}])/gu;

export function isPiece(text: string): boolean {
  return text.length <= PIECE;
}

/** The text in order, nothing left out; a run without a place to cut stays whole. */
export function* cutText(text: string, onlyAtSpaces: boolean): Iterable<{ piece: string; start: number }> {
  const separator = new RegExp(onlyAtSpaces ? SPACE : SPACE_OR_STOP);
  for (let start = 0; start < text.length; ) {
    separator.lastIndex = start + PIECE;
    const end = text.length - start <= PIECE || !separator.test(text) ? text.length : separator.lastIndex;
    yield { piece: text.slice(start, end), start };
    start = end;
  }
}
