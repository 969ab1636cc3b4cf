import { expect, test } from "vitest";
import { HeldFile, holdFiles } from "./held-file.ts";

function open() {
  let unmapped = 0;
  const mapped = new HeldFile({ bytes: new ArrayBuffer(8), [Symbol.dispose]: () => void unmapped++ });
  return { mapped, unmapped: () => unmapped };
}

test("is unmapped as it is released, when nobody reads it", () => {
  const { mapped, unmapped } = open();
  holdFiles([{ mapped }])[Symbol.dispose]();
  expect(unmapped()).toBe(0);
  mapped.release();
  expect(unmapped()).toBe(1);
});

test("is unmapped with the last read that began before it was released", () => {
  const { mapped, unmapped } = open();
  const first = holdFiles([{ mapped }, { mapped: undefined }]);
  const second = holdFiles([{ mapped }]);
  mapped.release();
  second[Symbol.dispose]();
  expect(unmapped()).toBe(0);
  first[Symbol.dispose]();
  expect(unmapped()).toBe(1);
});
