/** The usual English stop words: those that Lucene has always had, which Milvus's `_english_` is too. */
export const ENGLISH_STOP_WORDS: readonly string[] = (
  "a an and are as at be but by for if in into is it no not of on or such that the their then there these they this to was " +
  "will with"
).split(" ");
