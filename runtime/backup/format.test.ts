import { describe, expect, test } from "vitest";
import { type Backup, formatBackup, newBackup, parseBackup } from "./format.ts";

const object = { name: "segment/7v0/3/01JABCDEFGHJKMNPQRSTVWXYZ0.arrow", bytes: 10, digest: "SHA-256=abc" };

const backup: Backup = newBackup({
  writtenBy: "0.1.0",
  clusterId: "c",
  timestamp: 2n ** 60n + 1n,
  time: "2026-11-21T00:00:00.000Z",
  collections: [
    {
      collectionId: 7,
      database: "default",
      name: "things",
      description: "",
      schema: {
        version: 1,
        autoId: false,
        enableDynamicField: false,
        fields: [
          {
            ...{ fieldId: 100, name: "id", type: "Int64", description: "", isPrimary: true, nullable: false },
            ...{ isDynamic: false, defaultValue: 2n ** 62n + 1n },
          },
        ],
      },
      partitions: [{ partitionId: 8, name: "_default" }],
      indexes: [{ name: "vector", fieldId: 101, type: "HNSW", metric: "L2", params: { M: 16 } }],
      loaded: undefined,
      consistencyLevel: "Bounded",
      properties: { "collection.ttl.seconds": "60" },
      shards: [
        {
          vchannel: "7v0",
          segments: [
            {
              ...{ segmentId: "01JABCDEFGHJKMNPQRSTVWXYZ0", partitionId: 8, rowCount: 3, minTs: 5n, maxTs: 2n ** 60n },
              ...{ object, deletes: { object, rowCount: 1 } },
            },
          ],
          deltas: [{ object, rowCount: 2 }],
        },
      ],
    },
  ],
});

describe("a backup's description", () => {
  test("comes back as it was written, timestamps and defaults beyond exact numbers too", () => {
    expect(parseBackup(formatBackup(backup))).toEqual(backup);
  });

  test("may hold what only a newer program knows", () => {
    const text = formatBackup(backup).replace('"clusterId"', '"compression": "none",\n  "clusterId"');
    expect(parseBackup(text)).toEqual(backup);
  });

  test.each(["../../etc/passwd", "/etc/passwd", "segment/../../x", "segment//x", "segment/.hidden", ""])(
    "names no file outside of its folder: %s",
    (name) => {
      const text = formatBackup(backup).replaceAll(object.name, name);
      expect(() => parseBackup(text)).toThrow(expect.objectContaining({ kind: "corrupt" }));
    },
  );
});
