/** An OpenAPI document → the operations that the page lists. */

export type Schema = Record<string, any>;

export interface Parameter {
  name: string;
  in: string;
  required: boolean;
  description?: string;
  schema: Schema;
}

export interface Operation {
  method: string;
  path: string;
  tag: string;
  summary: string;
  description: string;
  deprecated: boolean;
  parameters: Parameter[];
  body?: { required: boolean; schema: Schema; example?: unknown };
  live?: { mode: string; shared: boolean };
  permissions: string[];
}

const METHODS = ["get", "post", "put", "patch", "delete"];
const DEEPEST = 20; // references that lead to references

/** What `$ref` in `value` points at, in `document`. */
export function resolved(document: Schema, value: any): any {
  for (let depth = 0; depth < DEEPEST && typeof value?.$ref === "string"; depth++) {
    const parts = value.$ref.split("/").slice(1);
    const { $ref: _, ...beside } = value;
    const names = parts.map((part: string) => part.replace(/~1/g, "/").replace(/~0/g, "~"));
    const found = names.reduce((from: any, name: string) => from?.[name], document);
    value = found && { ...found, ...beside };
  }
  return value ?? {};
}

export function operationsOf(document: Schema): Operation[] {
  const found: Operation[] = [];
  for (const [path, item] of Object.entries<any>(document.paths ?? {})) {
    for (const method of METHODS) {
      if (item?.[method]) found.push(operationOf(document, path, method, item[method], item.parameters ?? []));
    }
  }
  return found;
}

function operationOf(document: Schema, path: string, method: string, said: any, shared: any[]): Operation {
  const given = [...shared, ...(said.parameters ?? [])].map((parameter) => resolved(document, parameter));
  const content = resolved(document, said.requestBody).content?.["application/json"];
  return {
    method: method.toUpperCase(),
    path,
    tag: said.tags?.[0] ?? "",
    summary: said.summary ?? "",
    description: said.description ?? "",
    deprecated: said.deprecated === true,
    parameters: given.map((one) => ({ ...one, required: one.required === true, schema: schemaOf(one) })),
    body: content && {
      required: resolved(document, said.requestBody).required === true,
      schema: content.schema ?? {},
      example: content.example ?? (Object.values<any>(content.examples ?? {})[0]?.value as unknown),
    },
    live: method === "get" ? said["x-live"] : undefined,
    permissions: said["x-permissions"] ?? [],
  };
}

/** Of what no query could say, a parameter has the schema of its JSON. */
const schemaOf = (parameter: Schema): Schema => parameter.schema ?? parameter.content?.["application/json"]?.schema ?? {};

/** What `value` has of its own by this name; not what all objects have, as `constructor`. */
export const own = (value: unknown, name: string): unknown => (Object.hasOwn(Object(value), name) ? (value as Schema)[name] : undefined);

/** The operation that answers, and what its path has in the places of its parameters. */
export function found(operations: Operation[], method: string, url: string): [Operation, Record<string, string>] | undefined {
  const matches = operations
    .filter((operation) => operation.method === method)
    .flatMap((operation) => {
      const values = valuesOf(operation, url);
      return values ? [{ operation, values, rank: rankOf(operation) }] : [];
    })
    .sort((one, other) => (one.rank < other.rank ? -1 : 1));
  return matches[0] && [matches[0].operation, matches[0].values];
}

/** What `url` has in the places of the parameters of a path; nothing, if it does not have that path. */
function valuesOf(operation: Operation, url: string): Record<string, string> | undefined {
  const names: string[] = [];
  const pattern = operation.path.split(/(\{[^}]+\})/).map((part) => {
    if (!/^\{.+\}$/.test(part)) return part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    names.push(part.slice(1, -1));
    return takesAll(operation, part.slice(1, -1)) ? "(.+)" : "([^/]+)";
  });
  const match = new RegExp(`^${pattern.join("")}/?$`, "s").exec(url);
  return match ? Object.fromEntries(names.map((name, at) => [name, match[at + 1]!])) : undefined;
}

/** What comes first where several paths match, as on the server: part by part, what is fixed, then what is not. */
const rankOf = (operation: Operation) =>
  operation.path
    .split("/")
    .map((part) => (part.startsWith("{") ? (takesAll(operation, part.slice(1, -1)) ? 2 : 1) : 0))
    .join("");

/** A parameter that takes the rest of the path says so in its description, and nowhere else. */
export const takesAll = ({ parameters }: Operation, name: string) =>
  parameters.some((one) => one.name === name && /with its slashes/.test(one.description ?? ""));
