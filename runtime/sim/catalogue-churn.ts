/**
 * A client that changes the catalogue while others write: fields are added to their collection, and in one of its own
 * partitions come, get rows, and are dropped, often under the name of one that was there before. What must hold: rows
 * that were acknowledged are there, those of a dropped partition never again, and rows from before a field have its default.
 */
import type { VdbClient } from "../../client/client.ts";
import type { CreateCollectionOptions } from "../../client/types.ts";
import type { Clock } from "../clock.ts";
import { isVdbError } from "../errors.ts";
import { vectorOf } from "../testing/fault/row-vectors.ts";
import type { Seeded } from "./seeded.ts";

export interface ChurnOptions {
  client: VdbClient;
  clock: Pick<Clock, "sleep" | "monotonic">;
  random: Seeded;
  /** Of the others: fields are added to it. */
  collectionName: string;
  pauseMs: number;
  report: (problem: string) => void;
  count: (what: string) => void;
}

export interface Churn {
  /** Resolves when the last call has. */
  stop(): Promise<void>;
  /** Looks at everything, once nothing is broken. @throws VdbError unavailable */
  check(): Promise<void>;
}

/** Whether the call was answered. What is wrong with one that was not, others find out. */
export async function answered(call: Promise<unknown>): Promise<boolean> {
  try {
    await call;
    return true;
  } catch (error) {
    if (!isVdbError(error)) throw error;
    return false;
  }
}

/** One step after the other, until it is stopped. */
export function keepStepping({ clock, random, pauseMs }: ChurnOptions, step: () => Promise<void>): Pick<Churn, "stop"> {
  let isStopped = false;
  const running = (async () => {
    while (!isStopped) {
      await step();
      await clock.sleep(pauseMs * (0.5 + random.next()));
    }
  })();
  return {
    async stop() {
      isStopped = true;
      await running;
    },
  };
}

/** A collection of keys and vectors alone. */
export function plainCollection(collectionName: string, shardsNum: number): CreateCollectionOptions {
  return {
    collectionName,
    schema: {
      fields: [
        { fieldName: "id", dataType: "Int64", isPrimary: true },
        { fieldName: "vector", dataType: "FloatVector", elementTypeParams: { dim: vectorOf(0, 0).length } },
      ],
    },
    indexParams: [{ fieldName: "vector", metricType: "L2" }],
    params: { shardsNum },
  };
}

const OWN = "churned";
const HOME = "_default";
const FIELDS_MAX = 8;

export async function startChurn(options: ChurnOptions): Promise<Churn> {
  const { client, random, report, count } = options;
  await client.createCollection(plainCollection(OWN, 1 + random.int(2)));
  await client.loadPartitions({ collectionName: OWN, partitionNames: [HOME] });
  /** Acknowledged, by partition. */
  const rows = new Map<string, Set<number>>([[HOME, new Set()]]);
  /** Acknowledged once, and dropped since. */
  const gone = new Set<number>();
  let nextKey = 0;
  let names = 0;
  let name = "p0";
  let fields = 0;
  let ownFields = 0;

  async function insert(partitionName: string): Promise<void> {
    const keys = Array.from({ length: 1 + random.int(20) }, () => nextKey++);
    const data = keys.map((id) => ({ id, vector: vectorOf(id, 0) }));
    if (!(await answered(client.insert({ collectionName: OWN, partitionName, data })))) return;
    for (const key of keys) rows.get(partitionName)!.add(key);
  }

  /** @param partitionNames empty: in whatever is loaded. An early attempt of a release may come late, so that is not all. */
  async function find(partitionNames: string[]): Promise<void> {
    const expected = partitionNames.flatMap((partition) => [...(rows.get(partition) ?? [])]);
    const dropped = new Set(gone);
    const there = await client.query({
      collectionName: OWN,
      partitionNames,
      filter: "id >= 0",
      outputFields: ["id", ...Array.from({ length: ownFields }, (_, n) => `own${n}`)],
      limit: 16_384,
      consistencyLevel: "Strong",
    });
    const found = new Set(there.map(({ id }) => Number(id)));
    const lost = expected.filter((key) => !found.has(key));
    if (lost.length > 0) report(`churn: acknowledged rows ${lost.join(", ")} of ${partitionNames.join(", ")} are lost`);
    const back = [...found].filter((key) => dropped.has(key));
    if (back.length > 0) report(`churn: rows ${back.join(", ")} of a dropped partition are there`);
    if (found.size < there.length) report(`churn: ${there.length - found.size} rows are there twice`);
    for (const row of there) {
      for (let n = 0; n < ownFields; n++) {
        if (Number(row[`own${n}`]) !== n)
          report(`churn: row ${String(row.id)} has ${String(row[`own${n}`])} as own${n}`);
      }
    }
    count("churned rows read");
  }

  async function addFields(): Promise<void> {
    if (fields < FIELDS_MAX) {
      const schema = { fieldName: `churn${fields++}`, dataType: "Int64" as const, nullable: true, defaultValue: 7 };
      if (await answered(client.addField({ collectionName: options.collectionName, schema }))) count("field added");
    }
    if (ownFields === FIELDS_MAX) return;
    const schema = {
      fieldName: `own${ownFields}`,
      dataType: "Int64" as const,
      nullable: true,
      defaultValue: ownFields,
    };
    // The next one only when this one is there: one may come twice, as one that is there already.
    if (await answered(client.addField({ collectionName: OWN, schema }))) ownFields++;
    else isFieldUnsure = true;
  }
  let isFieldUnsure = false;

  async function enter(): Promise<void> {
    const target = { collectionName: OWN, partitionName: name };
    if (!(await answered(client.createPartition(target)))) return;
    if (!(await answered(client.loadPartitions({ collectionName: OWN, partitionNames: [name] })))) return;
    rows.set(name, new Set());
    count("partition created");
  }

  async function leave(): Promise<void> {
    // From now on its rows may be gone or not, until the answer says so.
    const keys = rows.get(name)!;
    rows.delete(name);
    const isReleased = await answered(client.releasePartitions({ collectionName: OWN, partitionNames: [name] }));
    const isDropped =
      isReleased && (await answered(client.dropPartition({ collectionName: OWN, partitionName: name })));
    if (isDropped) {
      for (const key of keys) gone.add(key);
      count("partition dropped");
    }
    // What was not answered may still happen, to whatever has the name then.
    if (!isDropped || random.chance(0.3)) name = `p${++names}`;
  }

  async function step(): Promise<void> {
    const isThere = rows.has(name);
    const choice = random.int(12);
    if (choice === 0 && !isFieldUnsure) return addFields();
    if (choice === 1) {
      await answered(client.flush({ collectionName: OWN }));
      return;
    }
    if (choice <= 3) {
      await answered(find(choice === 2 ? [...rows.keys()] : []));
      return;
    }
    if (!isThere) return enter();
    if (choice <= 5) return leave();
    if (choice === 6) {
      await answered(find([name]));
      return;
    }
    return insert(random.chance(0.3) ? HOME : name);
  }

  return {
    ...keepStepping(options, step),
    async check() {
      await client.loadPartitions({ collectionName: OWN, partitionNames: [...rows.keys()] });
      await find([...rows.keys()]);
      await find([]);
    },
  };
}
