/** Elements, without markup in strings: what comes from the server is text, never HTML. */
import { inLines } from "./json.js";

type Child = Node | string | false | null | undefined;

/** An element; a property whose name begins with "on" is a listener, `true` and `false` are attributes that are there or not. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Record<string, unknown> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === false || value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value as EventListener);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child): child is Node | string => child !== false && child != null));
  return element;
}

/** The element of the page that has this id. */
export function at<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no element ${id}`);
  return found as T;
}

const MOST = 200_000; // characters that are shown of one value: more would make the page slow

/** JSON as people read it. */
export const pretty = (text: string): string => inLines(text, MOST);

/** The same for what may be none, and stays as it is. */
export function indented(text: string): string {
  try {
    JSON.parse(text);
  } catch {
    return text;
  }
  return pretty(text);
}

export function bytes(count: number): string {
  if (count < 1000) return `${count} B`;
  return count < 1_000_000 ? `${(count / 1000).toFixed(1)} kB` : `${(count / 1_000_000).toFixed(1)} MB`;
}

export function clock(time: number): string {
  const date = new Date(time);
  const two = (part: number) => String(part).padStart(2, "0");
  const parts = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  return `${parts}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

const encoder = new TextEncoder();

export const sizeOf = (text: string): number => encoder.encode(text).length;

/** A version without the digest at its end, which tells people nothing: "epoch.number". */
export const short = (version: unknown): string => String(version ?? "").split(".").slice(0, 2).join(".");
