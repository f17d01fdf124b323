/** The world of the scenarios, tests/client/conformance/ of the server: a server, and a line to it. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../..", import.meta.url));

export type Step = Record<string, any>;

export interface Scenario {
  name: string;
  steps: Step[];
  options?: Record<string, number>;
  tokens?: Record<string, unknown>[];
  needs?: string[];
}

export const scenarios: Scenario[] = JSON.parse(readFileSync(`${root}/tests/client/conformance/scenarios.json`, "utf-8"));

export class World {
  private readonly process: ChildProcess;
  private readonly answers: AsyncIterator<string>;

  constructor() {
    const env = { ...process.env, PYTHONPATH: root };
    const command = ["-m", "tests.client.conformance.world"];
    this.process = spawn(process.env.PYTHON ?? "python3", command, { cwd: root, env, stdio: ["pipe", "pipe", "inherit"] });
    this.answers = createInterface({ input: this.process.stdout! })[Symbol.asyncIterator]();
  }

  async obeys(command: Step): Promise<any> {
    this.process.stdin!.write(`${JSON.stringify(command)}\n`);
    const { value, done } = await this.answers.next();
    if (done) throw new Error("the world has ended");
    const { gives, error } = JSON.parse(value);
    if (error) throw new Error(`${JSON.stringify(command)}: ${error}`);
    return gives;
  }

  async end(): Promise<void> {
    this.process.stdin!.end();
    while (!(await this.answers.next()).done);
  }
}
