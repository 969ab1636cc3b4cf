import fc from "fast-check";
import { headers } from "nats";
import { expect, test } from "vitest";
import type { StreamMessage } from "../nats/stream-tail.ts";
import { BatchGrouping } from "./batch-grouping.ts";

let nextSeq = 1;

/** A message of a batch, or of none for "". */
function message(batchId: string, isCommit = false): StreamMessage {
  const messageHeaders = headers();
  if (batchId !== "") messageHeaders.set("Nats-Batch-Id", batchId);
  if (isCommit) messageHeaders.set("Nats-Batch-Commit", "1");
  return { subject: "s", seq: nextSeq++, headers: messageHeaders, payload: new Uint8Array(0), pending: 0 };
}

function group(messages: StreamMessage[]): number[][] {
  const groups: number[][] = [];
  const grouping = new BatchGrouping((members) => groups.push(members.map((member) => member.seq)));
  for (const item of messages) grouping.add(item);
  return groups;
}

test("a message without a batch is delivered at once, also one without headers", () => {
  const first = message("");
  const second = { ...message(""), headers: undefined };
  expect(group([first, second])).toEqual([[first.seq], [second.seq]]);
});

test("members are held until their batch is whole", () => {
  const members = [message("a"), message("a"), message("a", true)];
  expect(group(members.slice(0, 2))).toEqual([]);
  expect(group(members)).toEqual([members.map((member) => member.seq)]);
});

test("a batch whose end was overwritten is delivered when anything else comes", () => {
  const [a, b, single] = [message("a"), message("b"), message("")];
  expect(group([a, b])).toEqual([[a.seq]]);
  expect(group([a, b, single])).toEqual([[a.seq], [b.seq], [single.seq]]);
});

test("any stream is delivered in order, once, with no batch split or joined to another", () => {
  const batch = fc.record({ size: fc.integer({ min: 1, max: 4 }), isAlone: fc.boolean(), isEndLost: fc.boolean() });
  fc.assert(
    fc.property(fc.array(batch, { maxLength: 20 }), (batches) => {
      const expected = batches.flatMap(({ size, isAlone, isEndLost }, i) => {
        if (isAlone) return [[message("")]];
        return [Array.from({ length: size }, (_, at) => message(`b${i}`, at === size - 1 && !isEndLost))];
      });
      const end = message("");
      const groups = group([...expected.flat(), end]);
      expect(groups).toEqual([...expected, [end]].map((members) => members.map((member) => member.seq)));
    }),
  );
});
