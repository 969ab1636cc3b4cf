import { defineConfig } from "vitest/config";

const shared = { pool: "forks" as const, hookTimeout: 60_000 };

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
          sequence: { groupOrder: 0 },
          include: ["{actors,runtime,client,scripts,bench}/**/*.test.ts"],
          exclude: ["**/*.{nats,faiss}.test.ts"],
        },
      },
      {
        test: {
          ...shared,
          name: "integration",
          sequence: { groupOrder: 1 },
          include: ["{actors,runtime,client}/**/*.{nats,faiss}.test.ts", "test/integration/**/*.test.ts"],
          testTimeout: 60_000,
          maxWorkers: 2,
        },
      },
      {
        test: {
          ...shared,
          name: "cluster",
          sequence: { groupOrder: 2 },
          include: ["test/cluster/**/*.test.ts"],
          testTimeout: 180_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
