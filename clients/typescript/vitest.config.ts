import { defineConfig } from "vitest/config";

export default defineConfig({
  test: { testTimeout: 60_000, hookTimeout: 60_000, typecheck: { enabled: true, include: ["tests/*.test-d.ts"] } },
});
