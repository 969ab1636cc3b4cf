/**
 * A fault in the text of a filter, with the place where it is. It never leaves runtime/expr: `planFilter` turns it
 * into the VdbError that clients see, which also names the whole expression.
 */
export class ExpressionError extends Error {
  override readonly name = "ExpressionError";
  /** UTF-16 units before the place; the message shows it as a column counted from 1. */
  readonly offset: number;

  constructor(message: string, offset: number) {
    super(message);
    this.offset = offset;
  }
}
