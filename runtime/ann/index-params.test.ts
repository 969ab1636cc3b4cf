import { describe, expect, it } from "vitest";
import { isVdbError, type VdbError } from "../errors.ts";
import { checkIndexParams, checkSearchParams, defaultEffort, storedIndexSpec } from "./index-params.ts";

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

  it("refuses IVF_PQ without m and unknown types", () => {
    expect(refusal(() => checkIndexParams("IVF_PQ", "L2", 64, {})).kind).toBe("missing_parameter");
    const unknown = refusal(() => checkIndexParams("DISKANN", "L2", 64, {}));
    expect(unknown.kind).toBe("index_unsupported");
    expect(unknown.message).toContain('got "DISKANN"');
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
    expect(defaultEffort(auto)).toBe(64);
    expect(defaultEffort(hnsw)).toBe(16);
  });

  it("refuses an ef below the neighbours asked for", () => {
    const error = refusal(() => checkSearchParams(hnsw, { ef: "9" }, 10));
    expect(error.message).toBe("parameter ef must be at least the number of neighbours asked for (10), got 9");
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
