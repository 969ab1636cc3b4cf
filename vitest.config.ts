import { defineConfig } from "vitest/config";

/**
 * Time limits say that nothing hangs, never how fast something is: all are many times what a loaded machine needs, and so
 * tests have none of their own but where they need more.
 */
const shared = { pool: "forks" as const, hookTimeout: 180_000, expect: { poll: { timeout: 60_000 } } };

/**
 * unit: beside the modules, no server, no child process, fast (`npm run check`).
 * integration: a real nats-server (`.nats.test.ts`), the real FAISS (`.faiss.test.ts`), every role in this process.
 * cluster: real processes, killed for real; one file at a time, because they share two cores.
 */
export default defineConfig({
  test: {
    reporters: ["default", "./test/closing-line.ts"],
    projects: [
      {
        test: {
          ...shared,
          name: "unit",
          maxWorkers: 2,
          testTimeout: 60_000,
          sequence: { groupOrder: 0 },
          include: ["{actors,runtime,client,scripts,bench}/**/*.test.ts", "test/golden/**/*.test.ts"],
          exclude: ["**/*.{nats,faiss}.test.ts"],
        },
      },
      {
        test: {
          ...shared,
          name: "integration",
          sequence: { groupOrder: 1 },
          include: ["{actors,runtime,client}/**/*.{nats,faiss}.test.ts", "test/{integration,api,grpc}/**/*.test.ts"],
          testTimeout: 180_000,
          // One more than there are cores: a third of the time is waiting, for leases, elections and what goes on in the background.
          maxWorkers: 3,
        },
      },
      {
        test: {
          ...shared,
          name: "cluster",
          sequence: { groupOrder: 2 },
          include: ["test/{cluster,fault}/**/*.test.ts"],
          testTimeout: 600_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
