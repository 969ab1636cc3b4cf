import { expect, test } from "vitest";
import type { ActorContext } from "../../runtime/actor.ts";
import { type ErrorKind, VdbError } from "../../runtime/errors.ts";
import { refuseByNewest, writeByNewest } from "./newest-schema.ts";

const call = { deadline: 0, signal: undefined };
const body = { collectionName: "c" };

/** A node whose document of the collection is replaced by the first look at the store, or is the newest. */
function nodeThat(isBehind: boolean): ActorContext {
  let document = {};
  const sync = async () => {
    if (isBehind) document = {};
    isBehind = false;
  };
  return { catalog: { collectionByName: () => document, cache: { sync } } } as unknown as ActorContext;
}

/** Refused the first time, as by an owner that knows more than the node. */
function handler(kind: ErrorKind): () => Promise<string> {
  let times = 0;
  return async () => {
    times++;
    if (times === 1) throw new VdbError(kind, "refused");
    return `done at attempt ${times}`;
  };
}

test.each<ErrorKind>(["invalid_insert_data", "field_not_found", "partition_not_found"])(
  "a refusal for %s counts when the store says the same",
  async (kind) => {
    expect(await refuseByNewest(nodeThat(true), body, call, handler(kind))).toBe("done at attempt 2");
    await expect(refuseByNewest(nodeThat(false), body, call, handler(kind))).rejects.toMatchObject({ kind });
  },
);

test("what is wrong for another reason is not done twice", async () => {
  const kind = "collection_not_loaded";
  await expect(refuseByNewest(nodeThat(true), body, call, handler(kind))).rejects.toMatchObject({ kind });
});

test("rows of a schema that is no more are made anew once for each newer one, and no more", async () => {
  const request = { collectionName: "c", requestId: "r" };
  expect(await writeByNewest(nodeThat(true), request, call, handler("schema_mismatch"))).toBe("done at attempt 2");
  let writes = 0;
  const stale = () => {
    writes++;
    return Promise.reject(new VdbError("schema_mismatch", "the client's schema is another"));
  };
  await expect(writeByNewest(nodeThat(false), request, call, stale)).rejects.toMatchObject({ kind: "schema_mismatch" });
  expect(writes).toBe(1);
});
