import { describe, expect, it } from "vitest";
import { isVdbError } from "../errors.ts";
import { bm25Params, checkSparseIndexParams, checkSparseSearchParams } from "./sparse-index-params.ts";

const isRefused = (message: RegExp) => (error: unknown) =>
  isVdbError(error, "invalid_parameter") && message.test(error.message);

describe("an index of sparse vectors", () => {
  it("is one and the same whatever it is called", () => {
    for (const type of ["SPARSE_INVERTED_INDEX", "SPARSE_WAND", "AUTOINDEX"]) {
      expect(checkSparseIndexParams(type, "IP", {})).toEqual({ type: "SPARSE_INVERTED_INDEX", params: {} });
    }
  });

  it("takes Milvus's parameters, as numbers or as text, and those that clients repeat", () => {
    const params = { inverted_index_algo: "TAAT_NAIVE", bm25_k1: "1.5", bm25_b: 0.5, bm25_avgdl: 80, index_type: "x" };
    expect(() => checkSparseIndexParams("SPARSE_INVERTED_INDEX", "BM25", params)).not.toThrow();
    expect(bm25Params(params)).toEqual({ k1: 1.5, b: 0.5 });
    expect(bm25Params({})).toEqual({ k1: 1.2, b: 0.75 });
  });

  it.each([
    [{ inverted_index_algo: "WAND" }, /algo WAND not found or not supported/],
    [{ bm25_k1: 3.1 }, /bm25_k1 must be a number in \[0, 3\], got 3.1/],
    [{ bm25_b: "" }, /bm25_b must be a number in \[0, 1\]/],
    [{ bm25_b: true }, /bm25_b/],
    [{ bm25_avgdl: 0 }, /bm25_avgdl/],
    [{ drop_ratio_build: 1 }, /drop_ratio_build must be a number in \[0, 1\), got 1/],
    [{ nlist: 8 }, /nlist must be a parameter of index type AUTOINDEX/],
  ])("refuses %j", (params, message) => {
    expect(() => checkSparseIndexParams("AUTOINDEX", "BM25", params)).toThrow(expect.toSatisfy(isRefused(message)));
  });
});

describe("a search of sparse vectors", () => {
  it("may leave out part of a query, and ignores what other indexes know", () => {
    expect(checkSparseSearchParams({ ef: 10 })).toEqual({});
    expect(checkSparseSearchParams({ drop_ratio_search: "0.2", dim_max_score_ratio: 1.3 })).toEqual({ dropRatio: 0.2 });
  });

  it.each([{ drop_ratio_search: 1 }, { drop_ratio_search: -0.1 }, { dim_max_score_ratio: 0.4 }])(
    "refuses %j",
    (params) => {
      expect(() => checkSparseSearchParams(params)).toThrow(expect.toSatisfy(isRefused(/must be a number in/)));
    },
  );
});
