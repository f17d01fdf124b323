/** The request that is made up: as a form from its schema, or as the message itself. */
import { canonical } from "../../typescript/src/topics.js";
import { at, h } from "./dom.js";
import { fieldOf, type Field } from "./form.js";
import { meant } from "./json.js";
import type { Message } from "./place.js";
import { found, own, takesAll, type Operation, type Parameter, type Schema } from "./schema.js";

interface Form {
  operation: Operation;
  path: Record<string, Field>;
  args: Record<string, Field>;
  data?: Field;
}

const PARTS = ["method", "url", "args", "data", "idempotency_key"];
const EMPTY: Message = { method: "GET", url: "/" };

export class Composer {
  private form?: Form;
  private isRaw = true;
  private readonly raw = at<HTMLTextAreaElement>("raw");
  private readonly fields = at("fields");
  private readonly problem = at("problem");
  private readonly tabs = [at<HTMLButtonElement>("tab-form"), at<HTMLButtonElement>("tab-raw")] as const;

  constructor(
    private readonly document: Schema,
    private readonly operations: Operation[],
    private readonly changed: (operation?: Operation) => void,
  ) {
    const [form, raw] = this.tabs;
    form.addEventListener("click", () => this.toForm());
    raw.addEventListener("click", () => this.toRaw());
    at("tabs").addEventListener("keydown", (event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      const other = this.isRaw ? form : raw;
      other.click();
      other.focus();
    });
    this.write(EMPTY);
    this.show();
  }

  open(operation: Operation): void {
    this.build(operation);
    this.isRaw = false;
    this.show();
    (this.fields.querySelector<HTMLElement>("input, select, textarea") ?? at("send")).focus();
  }

  /** Show `message` as a form, if a route takes it and the form can say it. */
  restore(message: Message): void {
    this.write(message);
    this.isRaw = !this.fits(message);
    this.show();
  }

  /** The request as it is now. Raises Error, in words, for what cannot be sent, and shows it. */
  message(): Message {
    this.complain("");
    try {
      return this.isRaw || !this.form ? this.written() : this.filled(this.form);
    } catch (error) {
      this.complain((error as Error).message);
      throw error;
    }
  }

  complain(text: string): void {
    this.problem.textContent = text;
    this.problem.hidden = !text;
  }

  private write(message: Message): void {
    this.raw.value = JSON.stringify(message, null, 2);
  }

  private written(): Message {
    const message = meant(this.raw.value, "the message");
    if (typeof message?.method !== "string" || typeof message.url !== "string") {
      throw new Error('the message needs "method" and "url", each a text');
    }
    const odd = Object.keys(message).find((name) => !PARTS.includes(name));
    if (odd !== undefined) throw new Error(`"${odd}" is not to be said here, but ${PARTS.join(", ")}`);
    return message;
  }

  private filled({ operation, path, args, data }: Form): Message {
    const url = operation.path.replace(/\{([^}]+)\}/g, (_, name: string) => {
      const value = String(path[name]?.read() ?? "");
      if (!value) throw new Error(`${name} is a part of the url and needs a value`);
      if (value.includes("/") && !takesAll(operation, name)) throw new Error(`${name} is one part of the url: a slash would begin another`);
      return value;
    });
    const given = Object.entries(args).map(([name, field]) => [name, field.read()] as const);
    const there = given.filter(([, value]) => value !== undefined);
    const message: Message = { method: operation.method, url };
    if (there.length) message.args = Object.fromEntries(there);
    const body = data?.read();
    if (body !== undefined) message.data = body;
    return message;
  }

  /** Tell whether the form, filled with `message`, says the same. */
  private fits(message: Message): boolean {
    const match = found(this.operations, message.method.toUpperCase(), message.url);
    if (!match) {
      this.form = undefined;
      return false;
    }
    const [operation, values] = match;
    const form = this.build(operation);
    for (const [name, field] of Object.entries(form.path)) field.write(values[name]);
    for (const [name, field] of Object.entries(form.args)) field.write(own(message.args, name));
    form.data?.write(message.data);
    try {
      return canonical(this.filled(form)) === canonical(message);
    } catch {
      return Object.keys(message).length <= 2; // Nothing is filled in yet.
    }
  }

  private toForm(): void {
    if (!this.isRaw) return;
    try {
      const message = this.written();
      if (!this.fits(message)) return this.complain("no form says this message: it stays as JSON");
    } catch (error) {
      return this.complain((error as Error).message);
    }
    this.isRaw = false;
    this.show();
  }

  private toRaw(): void {
    if (this.isRaw) return;
    try {
      this.write(this.filled(this.form!));
    } catch {
      const { method, path } = this.form!.operation; // What is missing is said when it is sent.
      this.write({ method, url: path });
    }
    this.isRaw = true;
    this.show();
  }

  private build(operation: Operation): Form {
    const of = (place: string): Record<string, Field> =>
      Object.fromEntries(operation.parameters.filter((one) => one.in === place).map((one) => [one.name, this.fieldOf(one)]));
    const { body } = operation;
    const data = body && fieldOf(this.document, body.schema, "data", body.required);
    if (body?.example !== undefined) data?.write(body.example);
    const form: Form = { operation, path: of("path"), args: of("query"), data };
    this.form = form;
    this.fields.replaceChildren(...this.parts(form));
    return form;
  }

  private fieldOf({ schema, name, required, description }: Parameter): Field {
    return fieldOf(this.document, { ...schema, ...(description && { description }) }, name, required);
  }

  private parts({ operation, path, args, data }: Form): HTMLElement[] {
    const group = (title: string, fields: Record<string, Field>) => {
      const elements = Object.values(fields).map(({ element }) => element);
      return elements.length ? [h("fieldset", {}, h("legend", {}, title), ...elements)] : [];
    };
    const parts = [...group("url", path), ...group("args", args), ...(data ? [data.element] : [])];
    const isBare = !parts.length && !["GET", "DELETE"].includes(operation.method);
    if (isBare) return [h("p", { class: "quiet" }, "Its data is not described: give it as JSON, if it takes any.")];
    return parts.length ? parts : [h("p", { class: "quiet" }, "It takes nothing.")];
  }

  private show(): void {
    const operation = this.form?.operation;
    this.complain("");
    at("raw-pane").hidden = !this.isRaw;
    at("form-pane").hidden = this.isRaw;
    this.tabs.forEach((tab, place) => {
      const isChosen = this.isRaw === (place === 1);
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
    });
    this.tabs[0].disabled = !this.operations.length;
    this.describe(operation);
    this.changed(operation);
  }

  private describe(operation?: Operation): void {
    const title = at("request-title");
    const said = operation && `${operation.summary}\n${operation.description}`.trim();
    if (operation) {
      title.replaceChildren(h("span", { class: `method ${operation.method}` }, operation.method), ` ${operation.path}`);
    } else title.textContent = "Any request";
    const notes = [
      operation?.deprecated && "Deprecated.",
      operation?.permissions.length && `Needs ${operation.permissions.join(", ")}.`,
    ];
    at("request-about").textContent = [said, ...notes].filter(Boolean).join("\n");
  }
}
