/** The server of the tests, as a program of its own. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** Give its url, and what ends it. */
export async function served(): Promise<{ url: string; end(): Promise<unknown> }> {
  const root = fileURLToPath(new URL("../../..", import.meta.url));
  const server = spawn(process.env.PYTHON ?? "python3", [fileURLToPath(new URL("server.py", import.meta.url))], {
    env: { ...process.env, PYTHONPATH: root },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const [port] = await once(server.stdout, "data");
  const end = () => {
    const exit = once(server, "exit");
    server.stdin.end();
    return exit;
  };
  return { url: `ws://127.0.0.1:${String(port).trim()}`, end };
}
