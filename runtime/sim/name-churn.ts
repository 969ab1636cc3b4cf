/**
 * A client that puts one collection in another's place, again and again, by renaming or by dropping, and writes and reads
 * by the name all the while, through proxies of which some have not heard of it. What must hold: rows that were
 * acknowledged are in what has the name now, and those of what had it before are not.
 */
import { vectorOf } from "../testing/fault/row-vectors.ts";
import { answered, type Churn, type ChurnOptions, keepStepping, plainCollection } from "./catalogue-churn.ts";

/** Nothing is sent again sooner. */
const SENT_ONCE_MS = 35;

export async function startNameChurn(options: ChurnOptions): Promise<Churn> {
  const { client, clock, random, report, count } = options;
  const shardsNum = 1 + random.int(2);
  /** Acknowledged, in what has the name now. */
  let rows = new Set<number>();
  /** Acknowledged, in what had a name before. */
  const gone = new Set<number>();
  /** Perhaps: an early attempt may be with a proxy that hangs, and come late, to what has the name then. */
  const sentAgain = new Set<number>();
  let name = "named0";
  let names = 0;
  let isThere = false;
  let nextKey = 0;

  const create = (collectionName: string) =>
    answered(client.createCollection(plainCollection(collectionName, shardsNum)));
  const rename = (collectionName: string, newCollectionName: string) =>
    answered(client.renameCollection({ collectionName, newCollectionName }));
  const drop = (collectionName: string) => answered(client.dropCollection({ collectionName }));

  async function insert(collectionName: string, into: Set<number>): Promise<boolean> {
    const keys = Array.from({ length: 1 + random.int(20) }, () => nextKey++);
    const data = keys.map((id) => ({ id, vector: vectorOf(id, 0) }));
    const began = clock.monotonic();
    if (!(await answered(client.insert({ collectionName, data })))) return false;
    const isSentOnce = clock.monotonic() - began < SENT_ONCE_MS;
    for (const key of keys) {
      into.add(key);
      if (!isSentOnce) sentAgain.add(key);
    }
    return true;
  }

  async function find(): Promise<void> {
    const expected = [...rows];
    const there = await client.query({
      collectionName: name,
      filter: "id >= 0",
      outputFields: ["id"],
      limit: 16_384,
      consistencyLevel: "Strong",
    });
    const found = new Set(there.map(({ id }) => Number(id)));
    const lost = expected.filter((key) => !found.has(key));
    if (lost.length > 0) report(`names: acknowledged rows ${lost.join(", ")} of ${name} are lost`);
    const back = [...found].filter((key) => gone.has(key) && !sentAgain.has(key));
    if (back.length > 0) report(`names: rows ${back.join(", ")} of what was called ${name} before are there`);
    if (found.size < there.length) report(`names: ${there.length - found.size} rows are there twice`);
    count("named rows read");
  }

  /** What was not answered may still happen, to whatever has the name then. */
  function leave(): void {
    name = `named${++names}`;
    rows = new Set();
    isThere = false;
  }

  async function begin(): Promise<void> {
    if (await create(name)) isThere = true;
    else leave();
  }

  async function replace(): Promise<void> {
    const newRows = new Set<number>();
    const isReplaced = random.chance(0.5)
      ? (await drop(name)) && (await create(name))
      : (await create(`${name}_next`)) &&
        (await insert(`${name}_next`, newRows)) &&
        (await rename(name, `${name}_old`)) &&
        (await rename(`${name}_next`, name));
    if (!isReplaced) return leave();
    for (const key of rows) gone.add(key);
    rows = newRows;
    count("collection replaced");
    // At once, through whatever proxies: some have yet to hear of it.
    await Promise.all([answered(find()), ...Array.from({ length: 3 }, () => insert(name, rows))]);
    // Its name is of use again once the other is gone.
    if (newRows.size > 0 && !(await drop(`${name}_old`))) leave();
  }

  async function step(): Promise<void> {
    if (!isThere) return begin();
    const choice = random.int(6);
    if (choice === 0) return replace();
    if (choice === 1) await answered(find());
    else await insert(name, rows);
  }

  return {
    ...keepStepping(options, step),
    async check() {
      if (isThere) await find();
    },
  };
}
