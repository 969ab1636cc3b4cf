import type { Reporter, TestModule } from "vitest/node";

/** Closes a run with one plain line, so that a reader (or a CI log parser) needs no knowledge of vitest's own summary. */
export default class ClosingLine implements Reporter {
  onTestRunEnd(modules: ReadonlyArray<TestModule>): void {
    const count = { passed: 0, failed: 0, skipped: 0 };
    for (const module of modules) {
      if (
        module.state() === "failed" &&
        [...module.children.allTests()].every((test) => test.result().state !== "failed")
      )
        count.failed++;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state === "pending") count.failed++;
        else count[state]++;
      }
    }
    const skipped = count.skipped > 0 ? `, ${count.skipped} skipped` : "";
    process.stdout.write(`\n${count.passed} passed, ${count.failed} failed${skipped}\n`);
  }
}
