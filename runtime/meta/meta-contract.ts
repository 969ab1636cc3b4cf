/** What every meta store must do, whatever it is kept in: the tests that an implementation of the port passes. */
import { beforeEach, describe, expect, test } from "vitest";
import { bytes, collector, put, text } from "../testing/meta-fixture.ts";
import type { MetaPort } from "./port.ts";

export interface MetaHarness {
  /** A store of its own that is empty. */
  open(): Promise<MetaPort>;
  /** Ends what the store is kept in, and starts it again. What was stored stays. */
  restart(): Promise<void>;
}

export function describeMeta(harness: () => MetaHarness): void {
  let meta: MetaPort;
  beforeEach(async () => {
    meta = await harness().open();
  });

  async function textAt(key: string): Promise<string | null> {
    return text((await meta.get(key))?.value);
  }

  async function stored(key: string, value: string, revision = 0): Promise<number> {
    const stored = await meta.commit([put(key, value, revision)]);
    if (stored === null) throw new Error(`${key} was not stored`);
    return stored;
  }

  describe("a single change", () => {
    test("creates, compares and sets, deletes, and creates again over what was deleted", async () => {
      const created = await stored("k", "1");
      expect(await meta.commit([put("k", "again", 0)])).toBeNull();
      const updated = await stored("k", "2", created);
      expect(await meta.commit([put("k", "stale", created)])).toBeNull();
      expect(await meta.get("k")).toEqual({ key: "k", value: bytes("2"), revision: updated });
      const deleted = await meta.commit([{ op: "delete", key: "k", revision: updated }]);
      expect(deleted).toBeGreaterThan(updated);
      expect(await meta.get("k")).toBeNull();
      expect(await meta.commit([put("k", "stale", updated)])).toBeNull();
      const recreated = await stored("k", "3");
      expect(recreated).toBeGreaterThan(deleted!);
      expect(await textAt("k")).toBe("3");
      expect(await meta.lastRevision()).toBe(recreated);
    });

    test("by one of many who try at once succeeds, and the others are told", async () => {
      const revision = await stored("k", "0");
      const outcomes = await Promise.all(
        Array.from({ length: 20 }, (_, i) => meta.commit([put("k", `${i}`, revision)])),
      );
      const winners = outcomes.filter((outcome) => outcome !== null);
      expect(winners).toHaveLength(1);
      expect((await meta.get("k"))?.revision).toBe(winners[0]);
    });
  });

  describe("a batch", () => {
    test("stores all its members and returns the revision of the last", async () => {
      const revision = await meta.commit([put("a", "1", 0), put("b", "2", 0), put("c", "3", 0)]);
      expect((await meta.get("c"))?.revision).toBe(revision);
      expect((await meta.get("a"))?.revision).toBe(revision! - 2);
      expect(await textAt("b")).toBe("2");
    });

    test("with one stale member changes nothing", async () => {
      const a = await stored("a", "1");
      const b = await stored("b", "1");
      await stored("b", "2", b);
      expect(await meta.commit([put("a", "x", a), put("b", "x", b), put("c", "x", 0)])).toBeNull();
      expect([await textAt("a"), await textAt("b"), await textAt("c")]).toEqual(["1", "2", null]);
    });

    test("deletes and re-creates keys together with other changes", async () => {
      const a = await stored("a", "1");
      const b = await stored("b", "1");
      expect(
        await meta.commit([
          { op: "delete", key: "a", revision: a },
          { op: "delete", key: "b", revision: b },
        ]),
      ).not.toBeNull();
      const revision = await meta.commit([put("c", "1", 0), put("a", "2", 0), put("b", "2", 0)]);
      expect((await meta.get("b"))?.revision).toBe(revision);
      expect(await textAt("a")).toBe("2");
    });

    test("whose guard is stale changes nothing: a deposed coordinator is powerless", async () => {
      const epoch = await stored("epoch", "1");
      const old = { op: "guard", key: "epoch", revision: epoch } as const;
      expect(await meta.commit([put("a", "by 1", 0), old])).not.toBeNull();
      const next = await stored("epoch", "2", epoch);
      const a = (await meta.get("a"))!.revision;
      expect(await meta.commit([put("a", "late", a), old])).toBeNull();
      expect(await meta.commit([old, put("b", "late", 0), { op: "delete", key: "a", revision: a }])).toBeNull();
      expect([await textAt("a"), await textAt("b")]).toEqual(["by 1", null]);
      const revision = await meta.commit([put("a", "by 2", a), { op: "guard", key: "epoch", revision: next }]);
      expect((await meta.get("a"))?.revision).toBe(revision);
    });

    test("holds all of several guards", async () => {
      const first = await stored("g1", "1");
      const second = await stored("g2", "1");
      const guards = (revision: number) =>
        [
          { op: "guard", key: "g1", revision: first },
          { op: "guard", key: "g2", revision },
          { op: "guard", key: "absent", revision: 0 },
        ] as const;
      expect(await meta.commit([put("a", "no", 0), ...guards(second - 1)])).toBeNull();
      expect(await meta.get("a")).toBeNull();
      const revision = await meta.commit([put("a", "yes", 0), ...guards(second)]);
      expect((await meta.get("a"))?.revision).toBe(revision);
    });

    test("by one of many who try at once succeeds", async () => {
      const a = await stored("a", "0");
      const b = await stored("b", "0");
      const attempts = Array.from({ length: 8 }, (_, i) => meta.commit([put("a", `${i}`, a), put("b", `${i}`, b)]));
      const winners = (await Promise.all(attempts)).filter((outcome) => outcome !== null);
      expect(winners).toHaveLength(1);
      expect(await textAt("a")).toBe(await textAt("b"));
    });

    test("of a hundred at once on keys of their own all succeed", async () => {
      const commits = Array.from({ length: 100 }, (_, i) =>
        meta.commit([put(`a.${i}`, "1", 0), put(`b.${i}`, "1", 0)]),
      );
      expect(await Promise.all(commits)).not.toContain(null);
      expect(await textAt("b.99")).toBe("1");
    });
  });

  describe("a watch", () => {
    test("delivers what is there as one call, and then each commit as one call", async () => {
      await stored("x.a", "1");
      const gone = await stored("x.gone", "1");
      await meta.commit([{ op: "delete", key: "x.gone", revision: gone }]);
      await stored("y.a", "1");
      const seen = collector();
      await using watch = await meta.watch(["x.", "y.a"], seen.handler);
      await watch.ready;
      expect(seen.calls.flat().map((change) => [change.key, text(change.value)])).toEqual([
        ["x.a", "1"],
        ["x.gone", null],
        ["y.a", "1"],
      ]);
      expect(seen.calls).toHaveLength(1);
      const revision = await meta.commit([put("x.b", "1", 0), put("z", "unwatched", 0), put("x.c", "1", 0)]);
      await stored("x.d", "1");
      await seen.until((calls) => calls.length === 3);
      expect(seen.calls[1]).toEqual([
        { key: "x.b", value: bytes("1"), revision: revision! - 2 },
        { key: "x.c", value: bytes("1"), revision },
      ]);
      expect(seen.calls[2]!.map((change) => change.key)).toEqual(["x.d"]);
    });

    test("of an empty store is ready at once", async () => {
      const seen = collector();
      await using watch = await meta.watch([""], seen.handler);
      await watch.ready;
      expect(seen.calls).toEqual([]);
    });

    test("sees every batch whole and nothing twice over a kill of the server in the middle of the traffic", async () => {
      const seen = collector();
      await using watch = await meta.watch(["p."], seen.handler);
      await watch.ready;
      let revisionA = 0;
      const commits = 120;
      const restarting = (async () => {
        await seen.until((calls) => calls.length >= 30);
        await harness().restart();
      })();
      for (let i = 0; i < commits; i++) {
        const revision = await meta.commit([
          put("p.a", `${i}`, revisionA),
          put(`q.${i}`, "x", 0),
          put(`p.n.${i}`, `${i}`, 0),
        ]);
        expect(revision).not.toBeNull();
        revisionA = revision! - 2;
      }
      await restarting;
      await seen.until((calls) => calls.flat().some((change) => change.key === `p.n.${commits - 1}`));
      // What came while nobody could follow comes as one call, without what was overwritten meanwhile.
      const keys = new Set<string>();
      for (const call of seen.calls) {
        for (const { key } of call) keys.add(key);
        const newest = call.findLast(({ key }) => key === "p.a");
        expect(new TextDecoder().decode(newest!.value!)).toBe(`${keys.size - 2}`);
      }
      expect(keys.size).toBe(commits + 1);
      const written = seen.calls.flat().map(({ key }) => key);
      expect(written.filter((key) => key !== "p.a")).toHaveLength(commits);
      const revisions = seen.calls.flat().map((change) => change.revision);
      expect(revisions).toEqual([...revisions].sort((a, b) => a - b));
    });
  });

  describe("when the server dies", () => {
    test("commits that were under way are settled: each landed once, and said so", async () => {
      const writers = Array.from({ length: 6 }, async (_, writer) => {
        let revision = 0;
        for (let i = 0; i < 60; i++) {
          const ops = [put(`w.${writer}`, `${i}`, revision)];
          // Half the writers commit batches.
          const result = await meta.commit(writer % 2 === 0 ? ops : [...ops, put(`w.${writer}.${i}`, "x", 0)]);
          expect(result).not.toBeNull();
          revision = writer % 2 === 0 ? result! : result! - 1;
        }
        return revision;
      });
      const progress = collector();
      await using watch = await meta.watch(["w."], progress.handler);
      // 720 messages in all.
      const passed = (revision: number) => progress.until((calls) => (calls.at(-1)?.at(-1)?.revision ?? 0) > revision);
      await passed(80);
      await harness().restart();
      await passed(240);
      await harness().restart();
      const revisions = await Promise.all(writers);
      await watch.ready;
      for (let writer = 0; writer < 6; writer++) {
        expect(await meta.get(`w.${writer}`)).toEqual({
          key: `w.${writer}`,
          value: bytes("59"),
          revision: revisions[writer],
        });
      }
    });
  });
}
