/** For the tests of search in one segment: rows of few keys, grown batch by batch with deletes between, and their model. */
import { planFilter } from "../expr/plan.ts";
import type { CollectionSchema, FieldSchema } from "../schema.ts";
import type { PrimaryKey } from "../segment/column.ts";
import { type KeyColumn, keysOf } from "../segment/keys.ts";
import { Segment } from "../segment/segment.ts";
import { batchOf } from "../testing/column-rows.ts";
import { seededNumbers } from "../testing/vectors.ts";

export const DIMENSION = 5;

export interface FixtureRow {
  key: PrimaryKey;
  vector: number[];
  /** 0 to 9. */
  group: number;
  ts: bigint;
  /** When it was deleted. */
  goneAt: bigint | null;
}

export interface Fixture {
  segment: Segment;
  schema: CollectionSchema;
  rows: FixtureRow[];
  maxTs: bigint;
}

export function buildSegment(options: {
  rowCount: number;
  keyKind: KeyColumn["kind"];
  seed: number;
  /** Rows of one key are frequent where it is small. */
  keyCount: number;
  segmentId?: string;
}): Fixture {
  const { rowCount, keyKind, seed, keyCount, segmentId = "S".repeat(26) } = options;
  const next = seededNumbers(seed);
  const below = (limit: number) => Math.floor(next() * limit);
  const schema = schemaOf(keyKind);
  const segment = new Segment({ segmentId, partitionId: 1, keyFieldId: 100, keyKind });
  const rows: FixtureRow[] = [];
  const newKey = () => (keyKind === "int64" ? below(keyCount) : `k${below(keyCount)}`);
  let ts = 0n;
  while (rows.length < rowCount) {
    ts++;
    const batch: FixtureRow[] = Array.from(
      { length: Math.min(rowCount - rows.length, 1 + below(rowCount / 4)) },
      () => ({
        key: newKey(),
        // Small integers: distances are exact, and some are equal.
        vector: Array.from({ length: DIMENSION }, () => below(7) - 3),
        group: below(10),
        ts,
        goneAt: null,
      }),
    );
    const cells = batch.map(({ key, vector, group }) => ({
      100: typeof key === "number" ? BigInt(key) : key,
      101: vector,
      102: group,
    }));
    segment.append(batchOf(schema.fields, cells), ts);
    rows.push(...batch);
    ts++;
    for (let i = below(5); i > 0; i--) {
      const key = newKey();
      segment.delete(keysOf(keyKind, [key]), 0, ts);
      for (const row of rows) if (row.key === key) row.goneAt ??= ts;
    }
  }
  return { segment, schema, rows, maxTs: ts };
}

/** Row numbers that a read sees, ascending; `groups`: those of its filter; older rows than `expiredTs` have outlived their time. */
export function readable(
  { rows }: Fixture,
  readTs: bigint,
  groups: readonly number[] | null,
  expiredTs = 0n,
): number[] {
  return rows.flatMap(({ ts, goneAt, group }, row) =>
    expiredTs <= ts &&
    ts <= readTs &&
    (goneAt === null || goneAt > readTs) &&
    (groups === null || groups.includes(group))
      ? [row]
      : [],
  );
}

export function groupFilter({ schema }: Fixture, groups: readonly number[] | null) {
  return groups === null ? null : planFilter(`group in [${groups.join()}]`, schema);
}

function schemaOf(keyKind: KeyColumn["kind"]): CollectionSchema {
  const field = (
    fieldId: number,
    name: string,
    type: FieldSchema["type"],
    rest: Partial<FieldSchema> = {},
  ): FieldSchema => ({
    fieldId,
    name,
    type,
    description: "",
    isPrimary: false,
    nullable: false,
    isDynamic: false,
    ...rest,
  });
  const fields = [
    field(100, "id", keyKind === "int64" ? "Int64" : "VarChar", {
      isPrimary: true,
      ...(keyKind === "int64" ? {} : { maxLength: 20 }),
    }),
    field(101, "vec", "FloatVector", { dimension: DIMENSION }),
    field(102, "group", "Int32"),
  ];
  return { version: 1, autoId: false, enableDynamicField: false, fields };
}
