import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ChunkAssembler, splitChunks } from "./chunks.ts";

/** Room for headers that splitChunks leaves, so that a small payload still has some for data. */
const HEADERS = 4096;

function joined(parts: readonly Uint8Array[], order: readonly number[]): (Uint8Array | null)[] {
  const assembler = new ChunkAssembler();
  return order.map((index) => assembler.add(parts[index]!, `${index}/${parts.length}`));
}

describe("splitChunks and ChunkAssembler", () => {
  it("give a message of any size back, in whatever order its parts come, and only with the last of them", () => {
    const cases = fc
      .record({ length: fc.nat(1000), room: fc.integer({ min: 10, max: 300 }), swap: fc.nat(), at: fc.nat() })
      .filter(({ length, room }) => length / room < 100);
    fc.assert(
      fc.property(cases, ({ length, room, swap, at }) => {
        const data = Uint8Array.from({ length }, (_, i) => (i * 7) & 0xff);
        const parts = splitChunks(data, HEADERS + room);
        expect(parts.every((part) => part.length <= room)).toBe(true);
        expect(parts.length).toBe(Math.max(1, Math.ceil(length / room)));
        const order = parts.map((_, i) => i);
        order.unshift(...order.splice(swap % order.length));
        // One part comes twice.
        order.splice(at % order.length, 0, order[at % order.length]!);
        const outcomes = joined(parts, order);
        const whole = outcomes.findIndex((outcome) => outcome !== null);
        expect(new Set(order.slice(0, whole + 1)).size).toBe(parts.length);
        expect(Buffer.compare(outcomes[whole]!, data)).toBe(0);
      }),
    );
  });

  it("leave a message that fits as it is", () => {
    const data = new Uint8Array(100);
    expect(splitChunks(data, HEADERS + 100)).toEqual([data]);
    expect(new ChunkAssembler().add(data, undefined)).toBe(data);
  });

  it("pass over headers that make no sense", () => {
    const assembler = new ChunkAssembler();
    const part = Uint8Array.of(1);
    for (const header of ["", "x", "1", "2/2", "-1/2", "0.5/2", "0/0", "1/", "/2", "0/129", "0/1e3", "1/2/3", " 1/2"]) {
      expect([header, assembler.add(part, header)]).toEqual([header, null]);
    }
    expect(assembler.add(part, "0/2")).toBeNull();
    // Of another message, or of a sender that is confused.
    expect(assembler.add(part, "2/3")).toBeNull();
    expect(assembler.add(part, "0/1")).toBeNull();
    expect([...assembler.add(Uint8Array.of(2), "1/2")!]).toEqual([1, 2]);
  });
});
