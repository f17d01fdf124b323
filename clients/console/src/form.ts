/** A JSON schema → fields for people, and what they say as a value. */
import { h } from "./dom.js";
import { meant, refuseLarge } from "./json.js";
import { own, resolved, type Schema } from "./schema.js";

/** `read` gives undefined for what is left out; it raises Error, in words, for what is no value. */
export interface Field {
  element: HTMLElement;
  read(): unknown;
  write(value: unknown): void;
}

// Where a type has itself in it, or very many fields, fields for all would be too many: below and beyond that it is JSON.
const DEEPEST = 2; // objects in objects
const WIDEST = 40; // fields of one
let ids = 0;

/** The only thing that `schema` may be beside null, or nothing if that is not one thing. */
function plain(document: Schema, schema: Schema): Schema | undefined {
  const here = resolved(document, schema);
  const choices: Schema[] | undefined = here.anyOf ?? here.oneOf;
  if (choices) {
    const others = choices.map((one) => resolved(document, one)).filter((one) => one.type !== "null");
    if (others.length !== 1) return undefined;
    const { anyOf: _, oneOf: __, ...beside } = here;
    return plain(document, { ...others[0], ...beside });
  }
  if (here.allOf?.length === 1) return plain(document, here.allOf[0]);
  if (!Array.isArray(here.type)) return here;
  const types = here.type.filter((type: string) => type !== "null");
  return types.length === 1 ? { ...here, type: types[0] } : undefined;
}

/** Tell whether null is one of several things that `schema` may be: a field for it may be empty. */
function takesNull(document: Schema, schema: Schema): boolean {
  const here = resolved(document, schema);
  const choices: Schema[] = here.anyOf ?? here.oneOf ?? [];
  return choices.some((one) => resolved(document, one).type === "null") || (Array.isArray(here.type) && here.type.includes("null"));
}

export function fieldOf(document: Schema, schema: Schema, name: string, isRequired: boolean, depth = 0): Field {
  if (isRequired && takesNull(document, schema)) {
    const field = fieldOf(document, { ...schema, default: null }, name, false, depth);
    return { ...field, read: () => field.read() ?? null };
  }
  const here = plain(document, schema);
  if (here === undefined) return ofJson(name, schema, isRequired);
  if (here.const !== undefined) return ofChoice(name, [here.const], here, isRequired);
  if (Array.isArray(here.enum)) return ofChoice(name, here.enum, here, isRequired);
  if (here.type === "boolean") return ofChoice(name, [true, false], here, isRequired);
  if (here.type === "integer" || here.type === "number") return ofNumber(name, here, isRequired);
  if (here.type === "string") return ofText(name, here, isRequired);
  const count = here.type === "object" ? Object.keys(here.properties ?? {}).length : 0;
  if (count > 0 && count <= WIDEST && depth <= DEEPEST) return ofObject(document, name, here, isRequired, depth);
  return ofJson(name, here, isRequired);
}

function labelled(name: string, schema: Schema, isRequired: boolean, input: HTMLElement): HTMLElement {
  input.id = `field-${++ids}`;
  if (isRequired) input.setAttribute("aria-required", "true");
  const kind = kindOf(schema);
  const label = h("label", { for: input.id }, name, isRequired && h("span", { class: "required" }, " required"));
  const hint = h("span", { class: "hint", id: `${input.id}-hint` }, kind);
  input.setAttribute("aria-describedby", hint.id);
  return h("div", { class: "field" }, h("div", { class: "labels" }, label, hint), input);
}

const BOUNDS: [string, string][] = [
  ["minimum", "≥ "],
  ["exclusiveMinimum", "> "],
  ["maximum", "≤ "],
  ["exclusiveMaximum", "< "],
  ["minLength", "length ≥ "],
  ["maxLength", "length ≤ "],
  ["pattern", "like "],
];

const OF_URLS = "^[^\\x00-\\x1f\\x7f]+$"; // the pattern of any text in a url, which tells people nothing

function kindOf(schema: Schema): string {
  const parts = [schema.format ?? schema.type ?? "JSON"];
  for (const [bound, sign] of BOUNDS) {
    if (schema[bound] !== undefined && schema[bound] !== OF_URLS) parts.push(sign + schema[bound]);
  }
  if (schema.description) parts.push(schema.description);
  return parts.join(", ");
}

const byDefault = (schema: Schema) => (schema.default === undefined ? undefined : JSON.stringify(schema.default));

function ofText(name: string, schema: Schema, isRequired: boolean): Field {
  const isLong = (schema.maxLength ?? 0) > 200;
  const input = h(isLong ? "textarea" : "input", {
    placeholder: schema.default === null ? "null" : (schema.default ?? schema.examples?.[0]),
    autocomplete: "off",
    spellcheck: "false",
  });
  return {
    element: labelled(name, schema, isRequired, input),
    read: () => (input.value || isRequired ? input.value : undefined),
    write: (value) => void (input.value = value == null ? "" : String(value)),
  };
}

function ofNumber(name: string, schema: Schema, isRequired: boolean): Field {
  const input = h("input", { placeholder: byDefault(schema), inputmode: "decimal", autocomplete: "off" });
  return {
    element: labelled(name, schema, isRequired, input),
    read: () => {
      const text = input.value.trim();
      if (!text) {
        if (isRequired) throw new Error(`${name} needs a number`);
        return undefined;
      }
      const value = Number(text);
      if (!Number.isFinite(value)) throw new Error(`${name} needs a number, not ${text}`);
      if (schema.type === "integer" && !Number.isInteger(value)) throw new Error(`${name} needs a whole number, not ${text}`);
      if (schema.type === "integer") refuseLarge(text, name);
      return value;
    },
    write: (value) => void (input.value = value == null ? "" : String(value)),
  };
}

function ofChoice(name: string, choices: unknown[], schema: Schema, isRequired: boolean): Field {
  const texts = choices.map((choice) => (typeof choice === "string" ? choice : JSON.stringify(choice)));
  const nothing = h("option", { value: "" }, schema.default === undefined ? "–" : `– (${byDefault(schema)})`);
  const options = texts.map((text, place) => h("option", { value: place }, text));
  const isFixed = isRequired && schema.type !== "boolean";
  const input = h("select", {}, !isFixed && nothing, ...options);
  return {
    element: labelled(name, { ...schema, type: schema.type ?? "choice" }, isRequired, input),
    read: () => {
      if (input.value !== "") return choices[Number(input.value)];
      if (isRequired) throw new Error(`choose one for ${name}`);
      return undefined;
    },
    write: (value) => {
      const place = choices.findIndex((choice) => choice === value);
      input.value = place < 0 ? (isFixed ? "0" : "") : String(place);
    },
  };
}

function ofJson(name: string, schema: Schema, isRequired: boolean): Field {
  const input = h("textarea", { placeholder: byDefault(schema), rows: "2", spellcheck: "false", class: "code" });
  return {
    element: labelled(name, { ...schema, format: `JSON${schema.type ? ` (${schema.type})` : ""}` }, isRequired, input),
    read: () => {
      const text = input.value.trim();
      if (!text) {
        if (isRequired) throw new Error(`${name} needs a value`);
        return undefined;
      }
      return meant(text, name);
    },
    write: (value) => void (input.value = value === undefined ? "" : JSON.stringify(value, null, 2)),
  };
}

function ofObject(document: Schema, name: string, schema: Schema, isRequired: boolean, depth: number): Field {
  const required = new Set<string>(schema.required ?? []);
  const fields = Object.entries<Schema>(schema.properties).map(
    ([key, one]) => [key, fieldOf(document, one, key, required.has(key), depth + 1)] as const,
  );
  const element = h("fieldset", {}, h("legend", {}, name), ...fields.map(([, field]) => field.element));
  const isFilled = () => [...element.querySelectorAll<HTMLInputElement>("input, textarea, select")].some(({ value }) => value);
  return {
    element,
    read: () => {
      if (!isRequired && !isFilled()) return undefined;
      const read = fields.map(([key, field]) => [key, field.read()]).filter(([, value]) => value !== undefined);
      return Object.fromEntries(read);
    },
    write: (value) => {
      const given = Object(value) as Record<string, unknown>;
      for (const [key, field] of fields) field.write(own(given, key));
    },
  };
}
