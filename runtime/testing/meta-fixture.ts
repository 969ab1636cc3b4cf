/** For tests of the meta store: documents as text, and a watch whose calls can be awaited. */
import type { MetaChange } from "../meta/port.ts";

export const bytes = (value: string): Uint8Array => new TextEncoder().encode(value);
export const text = (value: Uint8Array | null | undefined): string | null =>
  value === null || value === undefined ? null : new TextDecoder().decode(value);

export const put = (key: string, value: string, revision: number) =>
  ({ op: "put", key, value: bytes(value), revision }) as const;

/** Collects the calls of a watch; `until` resolves once what has come satisfies the condition. */
export function collector() {
  const calls: MetaChange[][] = [];
  let check = (): void => undefined;
  return {
    calls,
    handler: (changes: MetaChange[]) => {
      calls.push(changes);
      check();
    },
    until: (condition: (calls: MetaChange[][]) => boolean): Promise<void> =>
      new Promise((resolve) => {
        check = () => {
          if (condition(calls)) resolve();
        };
        check();
      }),
  };
}
