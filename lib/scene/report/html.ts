// SPDX-License-Identifier: Apache-2.0
/**
 * HTML as values: whatever is put into a template is escaped unless it is HTML itself.
 *
 * @module
 */

/** A piece of HTML. */
export class Html {
  constructor(readonly text: string) {}
}

/** What may stand in a template. */
export type HtmlValue = string | number | Html | null | readonly HtmlValue[];

/** A template: values between tags and in quoted attributes are escaped; null is nothing. */
export function markup(parts: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  const texts = parts.map((part, i) => i < values.length ? part + textOf(values[i]!) : part);
  return new Html(texts.join(""));
}

function textOf(value: HtmlValue): string {
  if (value === null) return "";
  if (value instanceof Html) return value.text;
  if (Array.isArray(value)) return value.map(textOf).join("");
  return escaped(String(value));
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** A text as HTML shows it. Control characters, which HTML does not have, become a replacement character. */
export function escaped(text: string): string {
  return text.replaceAll(/[&<>"']/g, (found) => ENTITIES[found]!)
    // deno-lint-ignore no-control-regex -- those are looked for
    .replaceAll(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/g, "\ufffd");
}
