/** JSON as text, number by number: those of a browser have 53 bits, and those that come, or are meant, may have more. */

const OPEN = "{[";
const CLOSE = "}]";
const [QUOTE, ESCAPE, COMMA, BRACE, BRACE_END, BRACKET, BRACKET_END] = [34, 92, 44, 123, 125, 91, 93];

/** Where the string ends whose first quote is at `start`. */
function endOfString(text: string, start: number): number {
  for (let end = start + 1; end < text.length; end++) {
    const code = text.charCodeAt(end);
    if (code === ESCAPE) end++;
    else if (code === QUOTE) return end + 1;
  }
  return text.length;
}

/** Where the token ends that begins at `start`: a string, a sign, or a number or a word. */
function endOf(text: string, start: number): number {
  if (text[start] === '"') return endOfString(text, start);
  let end = start + 1;
  if ("{}[],:".includes(text[start]!)) return end;
  while (end < text.length && !/[\s{}[\],:"]/.test(text[end]!)) end++;
  return end;
}

/** What JSON is made of, and where each begins. */
function* tokens(text: string): Generator<[string, number]> {
  for (let at = 0; at < text.length; ) {
    if (/\s/.test(text[at]!)) {
      at++;
      continue;
    }
    const end = endOf(text, at);
    yield [text.slice(at, end), at];
    at = end;
  }
}

/** JSON in lines, of which there are about `most` characters. */
export function inLines(text: string, most: number): string {
  let made = "";
  let before = "";
  let depth = 0;
  for (const [token] of tokens(text)) {
    if (made.length > most) return `${made.slice(0, most)}\n… the rest is not shown`;
    const isClose = CLOSE.includes(token);
    if (isClose) depth--;
    const begins = isClose ? !OPEN.includes(before) : before === "," || (before !== "" && OPEN.includes(before));
    if (begins) made += `\n${"  ".repeat(depth)}`;
    made += token === ":" ? ": " : token;
    if (OPEN.includes(token)) depth++;
    before = token;
  }
  return made;
}

/** The members of an object, each as it is written. PERF: no token of their values is made, which may be megabytes. */
export function members(text: string): Map<string, string> {
  const found = new Map<string, string>();
  let depth = 0;
  let name: string | undefined;
  let start = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      const end = endOfString(text, at);
      if (depth === 1 && name === undefined) {
        name = JSON.parse(text.slice(at, end)) as string;
        start = text.indexOf(":", end) + 1;
      }
      at = end - 1;
    } else if (code === BRACE || code === BRACKET) depth++;
    else if (code === BRACE_END || code === BRACKET_END || code === COMMA) {
      if (depth === 1 && name !== undefined) {
        found.set(name, text.slice(start, at).trim());
        name = undefined;
      }
      if (code !== COMMA) depth--;
    }
  }
  return found;
}

/** What JSON says. Raises Error, in words, for what is none, and for a number that would be sent as another one. */
export function meant(text: string, what: string): any {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`${what} is no JSON: ${(error as Error).message}`);
  }
  if (/\d{16}/.test(text)) for (const [token] of tokens(text)) refuseLarge(token);
  return value;
}

/** Raise Error for an integer that a browser does not have. */
export function refuseLarge(text: string, what = text): void {
  if (/^-?\d+$/.test(text) && !Number.isSafeInteger(Number(text))) throw new Error(`${what} is larger than a browser can count`);
}
