/** Many clients over a line that is cut, held back and swallowed, and a server that restarts: `npm run soak -- 120`.
 *
 * Each follows a log and counts its items, and has calls on their way. Prints what was lost or repeated without a word,
 * the calls without an outcome, and by how much memory grew; ends with 1 if there is any of them.
 */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import WebSocket from "ws";
import { createClient } from "../dist/index.js";

const [seconds = 60, count = 200] = process.argv.slice(2).map(Number);
const root = fileURLToPath(new URL("../../..", import.meta.url));
const world = spawn(process.env.PYTHON ?? "python3", ["-m", "tests.client.conformance.world"], {
  cwd: root,
  env: { ...process.env, PYTHONPATH: root },
  stdio: ["pipe", "pipe", "inherit"],
});
const answers = createInterface({ input: world.stdout })[Symbol.asyncIterator]();
const obeys = async (command) => {
  world.stdin.write(`${JSON.stringify(command)}\n`);
  const { gives, error } = JSON.parse((await answers.next()).value);
  if (error) throw new Error(error);
  return gives;
};
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

const { url } = await obeys({ do: "begin" });
const told = { items: 0, values: 0, faults: [], calls: 0, outcomes: {}, open: 0 };
const token = await obeys({ do: "token", sub: "ada", exp: 86_400 });
let isOver = false;

class One {
  last = undefined;
  constructor(number) {
    this.number = number;
    this.api = createClient({ url, WebSocket, token: () => token, backoff: [50, 1000], silence: 1000, patience: 1000 });
    this.api.subscribe("/log", { onchange: (change) => this.take(change) });
    this.calls = this.call();
  }
  take(change) {
    if (change.type === "item") {
      told.items++;
      if (this.last !== undefined && change.data.n !== this.last + 1)
        told.faults.push(`${this.number}: ${change.data.n} after ${this.last}`);
      this.last = change.data.n;
      return;
    }
    told.values++;
    const numbers = change.data.map(({ n }) => n);
    if (this.last !== undefined && !change.lost && !numbers.includes(this.last) && numbers.length) {
      told.faults.push(`${this.number}: ${numbers} after ${this.last} without a word`);
    }
    this.last = numbers.at(-1) ?? this.last;
  }
  async call() {
    while (!isOver) {
      told.calls++;
      const outcome = await this.api.get("/plain", { timeout: 5000 }).then(
        () => "answered",
        ({ name }) => name,
      );
      told.outcomes[outcome] = (told.outcomes[outcome] ?? 0) + 1;
      await pause(200 * Math.random());
    }
  }
}

const clients = Array.from({ length: count }, (_, number) => new One(number));
const heap = () => {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
};
const deeds = ["cut", "cut", "hold", "swallow", "away", "shut", "restart"];
const until = Date.now() + seconds * 1000;
let early;
while (Date.now() < until) {
  await obeys({ do: "add", times: 1 + Math.floor(4 * Math.random()) });
  await pause(100 + 400 * Math.random());
  if (Math.random() < 0.3) {
    const deed = deeds[Math.floor(deeds.length * Math.random())];
    await obeys({ do: deed, ...(deed === "shut" && { code: [1001, 1011, 1012][Math.floor(3 * Math.random())] }) });
    await pause(1500 * Math.random());
    await obeys({ do: "flow" });
  }
  if (early === undefined && Date.now() > until - seconds * 500) early = heap();
}
await pause(5000);
await obeys({ do: "add", times: 1 });
await pause(2000);
const grown = heap() - early;
isOver = true;
await Promise.all(clients.map(({ calls }) => calls));
const last = new Set(clients.map((client) => client.last));
for (const { api } of clients) api.close();
world.stdin.end();
const without = told.calls - Object.values(told.outcomes).reduce((sum, each) => sum + each, 0);
console.log(JSON.stringify({ ...told, faults: told.faults.slice(0, 10), lasts: [...last], without, grown }));
process.exitCode = told.faults.length || without || last.size !== 1 ? 1 : 0;
