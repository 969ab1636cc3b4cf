import { describe, expect, it } from "vitest";
import { isVdbError, type VdbError } from "../errors.ts";
import type { VectorType } from "../schema.ts";
import { checkIndexParams, checkSearchParams, defaultEffort, defaultMetric, storedIndexSpec } from "./index-params.ts";

function refusal(run: () => unknown): VdbError {
  try {
    run();
  } catch (error) {
    if (isVdbError(error)) return error;
    throw error;
  }
  throw new Error("expected a refusal");
}

describe("checkIndexParams", () => {
  it("fills in Milvus's defaults", () => {
    expect(checkIndexParams("HNSW", "L2", 64, {})).toEqual({ type: "HNSW", params: { M: 30, efConstruction: 360 } });
    expect(checkIndexParams("IVF_FLAT", "L2", 64, {})).toEqual({ type: "IVF_FLAT", params: { nlist: 128 } });
    expect(checkIndexParams("IVF_PQ", "L2", 64, { m: 8 }).params).toEqual({ nlist: 128, m: 8, nbits: 8 });
    expect(checkIndexParams("FLAT", "L2", 64, {})).toEqual({ type: "FLAT", params: {} });
  });

  it("builds AUTOINDEX as HNSW", () => {
    const spec = checkIndexParams("AUTOINDEX", "COSINE", 64, { metric_type: "COSINE" });
    expect(spec.type).toBe("HNSW");
    expect(spec.params).toMatchObject({ M: 18, efConstruction: 240 });
  });

  it("takes numbers written as strings", () => {
    const spec = checkIndexParams("HNSW", "IP", 64, { M: "16", efConstruction: "200", index_type: "HNSW" });
    expect(spec.params).toEqual({ M: 16, efConstruction: 200 });
  });

  it.each([
    ["HNSW", { M: 1 }, "parameter M must be an integer from 2 to 2048, got 1"],
    ["HNSW", { M: "x" }, "parameter M must be an integer from 2 to 2048, got x"],
    ["HNSW", { M: "" }, "parameter M must be an integer from 2 to 2048, got "],
    ["HNSW", { M: null }, "parameter M must be an integer from 2 to 2048, got null"],
    ["HNSW", { efConstruction: 1.5 }, "parameter efConstruction must be an integer from 1 to 2147483647, got 1.5"],
    [
      "HNSW",
      { efconstruction: 100 },
      "parameter efconstruction must be a parameter of index type HNSW (M, efConstruction), got 100",
    ],
    ["AUTOINDEX", { M: 16 }, "parameter M must be a parameter of index type AUTOINDEX (none), got 16"],
    ["IVF_SQ8", { nlist: 65_537 }, "parameter nlist must be an integer from 1 to 65536, got 65537"],
    ["IVF_PQ", { m: 7 }, "parameter m must be a divisor of the dimension (64), got 7"],
    ["IVF_PQ", { m: 8, nbits: 9 }, "parameter nbits must be an integer from 1 to 8, got 9"],
  ])("refuses %s with %j, saying what is allowed", (type, params, message) => {
    const error = refusal(() => checkIndexParams(type, "L2", 64, params));
    expect(error.kind).toBe("invalid_parameter");
    expect(error.message).toBe(message);
  });

  it("refuses IVF_PQ without m, and unknown types in Milvus's words", () => {
    expect(refusal(() => checkIndexParams("IVF_PQ", "L2", 64, {})).kind).toBe("missing_parameter");
    const unknown = refusal(() => checkIndexParams("BTREE", "L2", 64, {}));
    expect(unknown.kind).toBe("invalid_parameter");
    expect(unknown.message).toBe("invalid parameter[expected=valid index][actual=invalid index type: BTREE]");
  });

  it.each([
    ["DISKANN", "HNSW"],
    ["AISAQ", "HNSW"],
    ["IVF_RABITQ", "IVF_SQ8"],
    ["HNSW_PQ", "HNSW_SQ"],
    ["HNSW_PRQ", "HNSW_SQ"],
    ["MINHASH_LSH", "BIN_IVF_FLAT"],
    ["GPU_CAGRA", "HNSW"],
    ["GPU_BRUTE_FORCE", "FLAT"],
  ])("refuses Milvus's %s, which is not built here, and names %s", (type, nearest) => {
    const error = refusal(() => checkIndexParams(type, "L2", 64, {}));
    expect(error.kind).toBe("index_unsupported");
    expect(error.message).toBe(`index type ${type} is not supported, use ${nearest} or AUTOINDEX instead`);
  });

  it.each([
    ["FloatVector", "HAMMING", "float vector index does not support metric type: HAMMING"],
    ["BFloat16Vector", "BM25", "float vector index does not support metric type: BM25"],
    ["Int8Vector", "JACCARD", "int vector index does not support metric type: JACCARD"],
    ["BinaryVector", "L2", "binary vector index does not support metric type: L2"],
    ["SparseFloatVector", "COSINE", "only IP&BM25 is the supported metric type for sparse index"],
  ] as const)("refuses %s with %s", (vectorType, metric, message) => {
    const error = refusal(() => checkIndexParams("AUTOINDEX", metric, 64, {}, vectorType));
    expect(error.kind).toBe("invalid_parameter");
    expect(error.message).toBe(message);
  });

  it.each([
    ["BinaryVector", "HNSW"],
    ["BinaryVector", "SPARSE_INVERTED_INDEX"],
    ["Int8Vector", "IVF_FLAT"],
    ["FloatVector", "BIN_FLAT"],
    ["Float16Vector", "SPARSE_WAND"],
  ] as const)("refuses to build for %s a %s, naming what can be built", (vectorType, type) => {
    const error = refusal(() => checkIndexParams(type, defaultMetric(vectorType), 64, {}, vectorType));
    expect(error.kind).toBe("invalid_parameter");
    expect(error.message).toContain(`data type ${vectorType} can't build with this index ${type}, use one of `);
    expect(error.message).toContain("AUTOINDEX");
  });

  it("builds for each type what searches it best under the name asked for", () => {
    const built = (type: string, vectorType: VectorType, params = {}) =>
      checkIndexParams(type, defaultMetric(vectorType), 64, params, vectorType).type;
    expect(built("AUTOINDEX", "Int8Vector")).toBe("HNSW");
    expect(built("HNSW_SQ", "Float16Vector", { sq_type: "SQ8", refine: true, refine_type: "FP16" })).toBe("HNSW");
    expect(built("SCANN", "BFloat16Vector", { with_raw_data: "true", sub_dim: 2 })).toBe("IVF_FLAT");
    expect(built("BIN_IVF_FLAT", "BinaryVector", { nlist: 1024 })).toBe("BIN_FLAT");
    expect(built("AUTOINDEX", "BinaryVector")).toBe("BIN_FLAT");
    expect(built("SPARSE_WAND", "SparseFloatVector")).toBe("SPARSE_INVERTED_INDEX");
  });

  it("knows the metric that each type has when none is named", () => {
    expect(defaultMetric("Int8Vector")).toBe("COSINE");
    expect(defaultMetric("BinaryVector")).toBe("HAMMING");
    expect(defaultMetric("SparseFloatVector")).toBe("IP");
  });
});

describe("checkSearchParams", () => {
  const hnsw = checkIndexParams("HNSW", "L2", 64, {});
  const ivf = checkIndexParams("IVF_FLAT", "L2", 64, {});

  it("defaults ef to the neighbours asked for, at least 16, and nprobe to 8", () => {
    expect(checkSearchParams(hnsw, {}, 5)).toEqual({ ef: 16 });
    expect(checkSearchParams(hnsw, {}, 50)).toEqual({ ef: 50 });
    expect(checkSearchParams(ivf, {}, 50)).toEqual({ nprobe: 8 });
    expect(checkSearchParams(checkIndexParams("FLAT", "L2", 64, {}), { ef: 3 }, 50)).toEqual({});
  });

  it("searches AUTOINDEX wider than plain HNSW when nothing is said", () => {
    const auto = checkIndexParams("AUTOINDEX", "L2", 64, {});
    expect(checkSearchParams(auto, {}, 10)).toEqual({ ef: 64 });
    expect(checkSearchParams(auto, { level: 3 }, 10)).toEqual({ ef: 192 });
    expect(checkSearchParams(hnsw, { level: 3 }, 10)).toEqual({ ef: 16 });
    expect(defaultEffort(auto)).toBe(64);
    expect(defaultEffort(hnsw)).toBe(16);
  });

  it("refuses an ef below the neighbours asked for", () => {
    const error = refusal(() => checkSearchParams(hnsw, { ef: "9" }, 10));
    expect(error.message).toBe("parameter ef must be at least the number of neighbours asked for (10), got 9");
  });

  it.each([
    [{ level: 11 }, "parameter level must be an integer from 1 to 10, got 11"],
    [{ max_empty_result_buckets: 0 }, "parameter max_empty_result_buckets must be"],
    [{ refine_k: 0.5 }, "parameter refine_k must be a number of at least 1, got 0.5"],
  ])("refuses %j", (params, message) => {
    expect(refusal(() => checkSearchParams(hnsw, params, 10)).message).toContain(message);
  });

  it("looks wider in a band, as Milvus does, unless it is told how wide", () => {
    expect(checkSearchParams(hnsw, { radius: 2 }, 10)).toEqual({ ef: 512 });
    expect(checkSearchParams(hnsw, { radius: 0.2, ef: 20 }, 10)).toEqual({ ef: 20 });
  });

  it("refuses a reorder_k below the neighbours asked for", () => {
    const scann = checkIndexParams("SCANN", "L2", 64, {});
    expect(refusal(() => checkSearchParams(scann, { reorder_k: 5 }, 10)).message).toContain("parameter reorder_k");
    expect(checkSearchParams(scann, { reorder_k: 50 }, 10)).toEqual({ nprobe: 8 });
  });

  it("refuses an nprobe out of range and ignores what other index types know", () => {
    expect(refusal(() => checkSearchParams(ivf, { nprobe: 0 }, 10)).message).toContain("parameter nprobe");
    expect(checkSearchParams(ivf, { ef: 1, nprobe: 3 }, 10)).toEqual({ nprobe: 3 });
  });
});

describe("storedIndexSpec", () => {
  it("gives back what was checked, and refuses what this version does not know", () => {
    const auto = checkIndexParams("AUTOINDEX", "L2", 64, {});
    expect(storedIndexSpec(auto.type, { ...auto.params })).toEqual(auto);
    expect(refusal(() => storedIndexSpec("SCANN", {})).kind).toBe("index_unsupported");
  });
});
