import { expect, test } from "vitest";
import type { ActorContext } from "../../runtime/actor.ts";
import type { CollectionDoc } from "../../runtime/protocol/catalog.ts";
import { resolveLoaded, resolveToWrite } from "./resolve.ts";

const call = { deadline: 0, signal: undefined };

/** A node that has yet to hear that an alias was pointed from the collection "old" to "new". */
function nodeBehind(consistencyLevel = "Bounded") {
  const document = (collectionId: number, name: string) =>
    ({ collectionId, name, consistencyLevel, loaded: {}, partitions: [] }) as unknown as CollectionDoc;
  const collections = [document(1, "old"), document(2, "new")];
  let target = "old";
  let looks = 0;
  const sync = async () => {
    looks++;
    target = "new";
  };
  const collectionByName = (_: string, name: string) =>
    collections.find((one) => one.name === (name === "alias" ? target : name));
  const actor = { catalog: { collectionByName, cache: { sync } } } as unknown as ActorContext;
  return { actor, looks: () => looks };
}

test("a Strong read, and a write, through an alias goes where it points by now", async () => {
  const alias = { collectionName: "alias" };
  expect(await resolveLoaded(nodeBehind().actor, { ...alias, consistencyLevel: "Strong" }, call)).toMatchObject({
    name: "new",
  });
  expect(await resolveLoaded(nodeBehind("Strong").actor, alias, call)).toMatchObject({ name: "new" });
  expect(await resolveToWrite(nodeBehind().actor, alias, call)).toMatchObject({ name: "new" });
});

test("other reads, and names that are no aliases, cost no look at the store", async () => {
  const node = nodeBehind();
  const strong = { consistencyLevel: "Strong" };
  expect(await resolveLoaded(node.actor, { collectionName: "alias" }, call)).toMatchObject({ name: "old" });
  expect(await resolveLoaded(node.actor, { collectionName: "old", ...strong }, call)).toMatchObject({ name: "old" });
  expect(await resolveToWrite(node.actor, { collectionName: "old" }, call)).toMatchObject({ name: "old" });
  expect(node.looks()).toBe(0);
});
