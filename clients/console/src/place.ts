/** A request ↔ the part of the page's address behind "#": a link that restores it. A token is never in it. */

export interface Message {
  method: string;
  url: string;
  args?: unknown;
  data?: unknown;
  idempotency_key?: string;
}

const PARTS = ["args", "data", "idempotency_key"] as const;

export function written(message: Message): string {
  const parts = new URLSearchParams({ method: message.method, url: message.url });
  for (const name of PARTS) if (message[name] !== undefined) parts.set(name, JSON.stringify(message[name]));
  return `#${parts.toString().replace(/%2F/g, "/")}`;
}

/** Nothing, where it holds no request. */
export function read(hash: string): Message | undefined {
  const parts = new URLSearchParams(hash.replace(/^#/, ""));
  const [method, url] = [parts.get("method"), parts.get("url")];
  if (!method || !url) return undefined;
  const message: Record<string, unknown> = { method, url };
  try {
    for (const name of PARTS) if (parts.has(name)) message[name] = JSON.parse(parts.get(name)!);
  } catch {
    return undefined;
  }
  return message as unknown as Message;
}
