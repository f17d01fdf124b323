/** Many clients over a line that is cut, held back and swallowed, and a server that restarts: `npm run soak -- 120`.
 *
 * Each follows a log and counts its items, and has calls on their way, with tokens of its own that live for some seconds.
 * Prints what was lost or repeated without a word, the calls without an outcome, or with another user's, or refused for
 * their token, the tries that begin later than 1.5 times the wait that was drawn, and by how much memory grew; ends with
 * 1 if there is any but the last.
 */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import WebSocket from "ws";
import { createClient } from "../dist/index.js";
import { Link } from "../dist/link.js";

const LIFE = 6; // seconds of a token
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
let isOver = false;

// A wait is as long as a timer beside the client's takes: how late the loop comes to that, all clients share.
const LATE = 1.5; // times the wait that was drawn, when the next try has to begin
const SLACK = 50; // ms besides: a wait may be of none
const waits = new Map(); // url of a client → when it was lost, and when its wait was over
const back = { tries: 0, late: [], overdue: [] };
let drawn;

const { jitter, lost } = Link.prototype;
Link.prototype.jitter = function (attempts) {
  const pause = jitter.call(this, attempts);
  drawn ??= pause;
  return pause;
};
Link.prototype.lost = function (code) {
  drawn = undefined;
  lost.call(this, code);
  if (drawn === undefined) return; // it does not come back
  const wait = { at: performance.now(), over: undefined };
  waits.set(this.options.url, wait);
  setTimeout(() => {
    wait.over = performance.now();
  }, drawn);
};

/** A WebSocket that takes note of when it is tried. */
class Noted extends WebSocket {
  constructor(url) {
    super(url);
    const wait = waits.get(url);
    if (!wait) return;
    waits.delete(url);
    const took = performance.now() - wait.at;
    const wanted = (wait.over ?? performance.now()) - wait.at;
    back.tries++;
    back.overdue.push(took - wanted);
    if (took > LATE * wanted + SLACK) back.late.push(`${url}: after ${took} ms, a wait of ${wanted} ms was drawn`);
  }
}

class One {
  last = undefined;
  constructor(number) {
    this.number = number;
    this.name = `user-${number}`;
    this.asked = 0;
    const token = () => {
      this.asked++;
      return obeys({ do: "token", sub: this.name, exp: LIFE });
    };
    const own = `${url}/?${this.name}`;
    this.api = createClient({ url: own, WebSocket: Noted, token, backoff: [50, 1000], silence: 1000, patience: 1000 });
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
      const outcome = await this.api.get("/me", { timeout: 5000 }).then(
        (me) => (me === this.name ? "answered" : told.faults.push(`${this.name} is said to be ${me}`) && "another's"),
        ({ name, status }) => (status ? `${name} ${status}` : name),
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
back.overdue.sort((one, other) => one - other);
const overdue = [0.5, 0.99, 1].map((share) => back.overdue[Math.ceil(share * back.overdue.length) - 1]);
const tokens = clients.reduce((sum, { asked }) => sum + asked, 0);
const without = told.calls - Object.values(told.outcomes).reduce((sum, each) => sum + each, 0);
const { tries, late } = back;
console.log(JSON.stringify({ ...told, faults: told.faults.slice(0, 10), lasts: [...last], without, grown, tokens }));
console.log(JSON.stringify({ tries, late: late.length, overdue, first: late.slice(0, 5) }));
const refused = told.outcomes["RequestFailed 401"] ?? 0; // a token that has expired on the way is asked for once more
const isDull = !tries || tokens <= clients.length || !told.outcomes.answered; // too little happened
process.exitCode = told.faults.length || without || refused || last.size !== 1 || late.length || isDull ? 1 : 0;
