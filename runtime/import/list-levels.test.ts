/** Levels of Parquet lists: the same as reading them one by one. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { listStarts } from "./list-levels.ts";

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)];
}

/** Runs as writers make them: repeated values, or groups of eight of one bit each. */
function encoded(runs: { isPacked: boolean; levels: number[] }[]): number[] {
  return runs.flatMap(({ isPacked, levels }) => {
    if (!isPacked) return [...varint(levels.length << 1), levels[0]!];
    const bytes = Array.from({ length: levels.length / 8 }, (_, group) =>
      levels.slice(group * 8, group * 8 + 8).reduce((byte, level, bit) => byte | (level << bit), 0),
    );
    return [...varint((bytes.length << 1) | 1), ...bytes];
  });
}

const bit = fc.integer({ min: 0, max: 1 });
const run = fc.oneof(
  fc.tuple(bit, fc.integer({ min: 1, max: 300 })).map(([level, count]) => ({
    isPacked: false,
    levels: new Array<number>(count).fill(level),
  })),
  fc
    .integer({ min: 1, max: 4 })
    .chain((groups) =>
      fc.array(bit, { minLength: groups * 8, maxLength: groups * 8 }).map((levels) => ({ isPacked: true, levels })),
    ),
);

it("lists begin where the repetition level is 0", () => {
  fc.assert(
    fc.property(fc.array(run, { minLength: 1, maxLength: 8 }), fc.integer({ min: 0, max: 7 }), (runs, unused) => {
      const all = runs.flatMap(({ levels }) => levels);
      // The last group of eight may have more than the page.
      const count = runs.at(-1)!.isPacked ? all.length - unused : all.length;
      const bytes = Uint8Array.from([0xaa, ...encoded(runs), 0xbb]);
      const starts = all.slice(0, count).flatMap((level, i) => (level === 0 ? [i] : []));
      const repetition: [number, number] = [1, bytes.length - 1];
      expect(listStarts({ bytes, repetition, definition: undefined, count }, 0)).toEqual(starts);
    }),
  );
});

it("what may be missing, or ends too early, is left to others", () => {
  const repetition = encoded([{ isPacked: false, levels: [0, 0, 0, 0] }]);
  const levels = (definition: { isPacked: boolean; levels: number[] }[], cut = 0) => {
    const bytes = Uint8Array.from([...repetition, ...encoded(definition)]);
    return {
      ...{ bytes, count: 4, repetition: [0, repetition.length] as [number, number] },
      definition: [repetition.length, bytes.length - cut] as [number, number],
    };
  };
  const whole = { isPacked: false, levels: [2, 2] };
  expect(listStarts(levels([whole, whole]), 2)).toEqual([0, 1, 2, 3]);
  expect(listStarts(levels([whole, { isPacked: false, levels: [1, 1] }]), 2)).toBeUndefined();
  expect(listStarts(levels([{ isPacked: true, levels: [1, 1, 1, 1, 1, 1, 1, 1] }]), 1)).toBeUndefined();
  expect(listStarts(levels([whole]), 2)).toBeUndefined();
  expect(listStarts({ ...levels([whole, whole]), repetition: [0, 0] }, 2)).toBeUndefined();
});
