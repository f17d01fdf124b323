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

/** The operation that answers, and what its path has in the places of its parameters. */
export function found(operations: Operation[], method: string, url: string): [Operation, Record<string, string>] | undefined {
  for (const operation of operations) {
    if (operation.method !== method) continue;
    const names: string[] = [];
    const pattern = operation.path.split(/(\{[^}]+\})/).map((part) => {
      if (!/^\{.+\}$/.test(part)) return part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
      names.push(part.slice(1, -1));
      return takesAll(operation, part.slice(1, -1)) ? "(.+)" : "([^/]+)";
    });
    const match = new RegExp(`^${pattern.join("")}/?$`).exec(url);
    if (match) return [operation, Object.fromEntries(names.map((name, at) => [name, match[at + 1]!]))];
  }
  return undefined;
}

/** A parameter that takes the rest of the path says so in its description, and nowhere else. */
const takesAll = ({ parameters }: Operation, name: string) =>
  parameters.some((one) => one.name === name && /with its slashes/.test(one.description ?? ""));
