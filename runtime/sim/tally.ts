/** What happened in a run, and how often: a run in which nothing happens finds nothing. */
export class Tally {
  readonly counts = new Map<string, number>();

  count(what: string, times = 1): void {
    if (times === 0) return;
    this.counts.set(what, (this.counts.get(what) ?? 0) + times);
  }
}
