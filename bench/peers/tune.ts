/** Finds how hard a peer has to search. */

/** Efforts tried: each some 8 % more than the one before, which changes recall near 0.95 by a few thousandths. */
export const EFFORTS: readonly number[] = Array.from({ length: 61 }, (_, i) => Math.round(10 * 100 ** (i / 60)));

/**
 * The smallest of EFFORTS at which `measure` gives the wanted recall, assuming that it grows with effort; the largest if none
 * does.
 */
export async function smallestEffort(wanted: number, measure: (effort: number) => Promise<number>): Promise<number> {
  let low = 0;
  let high = EFFORTS.length - 1;
  while (low < high) {
    // Biased to the low end, where most results are and a trial is cheap.
    const middle = Math.floor(low + (high - low) / 3);
    if ((await measure(EFFORTS[middle]!)) >= wanted) high = middle;
    else low = middle + 1;
  }
  return EFFORTS[low]!;
}
