import { describe, expect, it } from "vitest";
import type { ActorContext } from "../../../runtime/actor.ts";
import type { PublicOperation } from "../../../runtime/protocol/public.ts";
import * as api from "../../../runtime/protocol/public.ts";
import { ManualClock } from "../../../runtime/testing/manual-clock.ts";
import { Limits } from "./limits.ts";

interface World {
  /** Settings `limits.*`. */
  settings?: Record<string, number>;
  /** Of the collection `c`, which is also called `alias`. */
  properties?: Record<string, string>;
  database?: Record<string, string>;
  proxies?: number;
  bytes?: number;
}

function limitsOf({ settings = {}, properties = {}, database = {}, proxies = 1, bytes = 0 }: World) {
  const clock = new ManualClock();
  const collection = { collectionId: 7, database: "default", name: "c", properties, shards: [{ vchannel: "7v0" }] };
  const subscribe = () => ({ [Symbol.dispose]() {} });
  const catalog = {
    cache: { subscribe },
    collection: () => collection,
    collections: () => [collection],
    collectionByName: (_: string, name: string) => (["c", "alias"].includes(name) ? collection : undefined),
    database: () => ({ name: "default", properties: database }),
    databases: () => [{ name: "default", properties: database }],
    manifest: () => ({ segments: [{ object: { bytes }, indexes: {} }] }),
  };
  const off = new Proxy(settings, { get: (given, name) => given[name as string] ?? 0 });
  const actor = {
    ...{ clock, catalog, config: { limits: off }, scope: { use() {} } },
    nodes: { subscribe, ofRole: () => Array.from({ length: proxies }) },
  };
  const limits = new Limits(actor as unknown as ActorContext);
  const passes = (operation: PublicOperation, body: object, times: number) => {
    let count = 0;
    for (let i = 0; i < times; i++) {
      try {
        limits.admit(operation, body);
        count++;
      } catch {}
    }
    return count;
  };
  return { limits, clock, passes };
}

describe("limits", () => {
  it("are none unless they are set", () => {
    const { limits, passes } = limitsOf({});
    expect(passes(api.queryEntities, { collectionName: "c" }, 1_000)).toBe(1_000);
    expect(limits.inForce()).toEqual([]);
  });

  it("of the cluster are shared by the proxies that are alive", async () => {
    const { passes, clock } = limitsOf({ settings: { queriesPerSecond: 10 }, proxies: 2 });
    expect(passes(api.queryEntities, { collectionName: "c" }, 50)).toBe(5);
    await clock.advance(1_000);
    // Gets count as queries do.
    expect(passes(api.getEntities, { collectionName: "d" }, 50)).toBe(5);
  });

  it("of a collection hold under each of its names, and for no other", () => {
    const { passes } = limitsOf({ properties: { "collection.searchRate.max.vps": "4" } });
    const data = [[1], [2]];
    expect(passes(api.searchEntities, { collectionName: "alias", data }, 1)).toBe(1);
    expect(passes(api.hybridSearchEntities, { COLLECTIONNAME: "c", search: [{ data }] }, 50)).toBe(1);
    expect(passes(api.searchEntities, { collectionName: "other", data }, 50)).toBe(50);
    expect(passes(api.queryEntities, { collectionName: "c" }, 50)).toBe(50);
  });

  it("say which it is, and when to come again", () => {
    const { limits, passes } = limitsOf({ settings: { flushesPerSecond: 0.1 } });
    expect(passes(api.flushCollection, { collectionName: "c" }, 5)).toBe(1);
    expect(() => limits.admit(api.flushCollection, { collectionName: "c" })).toThrow(
      expect.objectContaining({
        kind: "rate_limited",
        details: { limit: "limits.flushesPerSecond", rate: 0.1, retryAfterMs: 10_000 },
      }),
    );
  });

  it("of nothing let nothing through", () => {
    const { passes } = limitsOf({ properties: { "collection.deleteRate.max.mb": "0" } });
    expect(passes(api.deleteEntities, { collectionName: "c", filter: "id > 0" }, 5)).toBe(0);
  });

  it("of the disk refuse what adds rows, and nothing else", () => {
    for (const quota of [
      { properties: { "collection.diskProtection.diskQuota.mb": "1" } },
      { database: { "database.diskQuota.mb": "1" } },
    ]) {
      const { limits, passes } = limitsOf({ ...quota, bytes: 1024 * 1024 });
      for (const operation of [api.insertEntities, api.upsertEntities, api.createImportJob]) {
        expect(() => limits.admit(operation, { collectionName: "c" })).toThrow(
          expect.objectContaining({ kind: "quota_exceeded" }),
        );
      }
      expect(passes(api.deleteEntities, { collectionName: "c" }, 3)).toBe(3);
      expect(limits.inForce()).toHaveLength(1);
      expect(
        limitsOf({ ...quota, bytes: 1024 * 1024 - 1 }).passes(api.insertEntities, { collectionName: "c" }, 3),
      ).toBe(3);
    }
  });
});
