// SPDX-License-Identifier: Apache-2.0
/**
 * Manual pages (man(7)): viola(1), one for each subcommand, and viola.toml(5), printed from the command line's table and the
 * schema of scene files.
 *
 * @module
 */
import type { Schema } from "../../lib/scene/mod.ts";
import type { Place, TableOption } from "./table.ts";

/** A page. */
export interface Page {
  /** Its file's name, such as "viola-up.1". */
  readonly name: string;
  readonly text: string;
}

/** A text as roff prints it: nothing in it is a request or an escape. */
export function roff(text: string): string {
  return text.replaceAll("\\", "\\e").replaceAll("-", "\\-").replaceAll(/^([.'])/gm, "\\&$1");
}

const bold = (text: string): string => `\\fB${roff(text)}\\fR`;

/** Lines that stay as they are, as in a terminal. */
function asIs(text: string): string[] {
  const lines = text.replace(/^\n+/, "").trimEnd();
  return lines === "" ? [] : [".nf", roff(lines), ".fi"];
}

/** A term with its explanation. */
function item(term: string, text: string): string[] {
  return [".TP", term, roff(text) || "\\&"];
}

function head(name: string, section: number, what: string, version: string): string[] {
  return [
    `.TH ${name.toUpperCase()} ${section} "" "viola ${version}" "viola"`,
    ...[".SH NAME", `${roff(name)} \\- ${roff(what)}`],
  ];
}

/** "Run the devices of a file." as the line below NAME has it. */
function asName(description: string): string {
  return description.charAt(0).toLowerCase() + description.slice(1).replace(/\.$/, "");
}

function optionItem({ flags, description }: TableOption): string[] {
  return item(bold(flags), description);
}

/** The pages of section 1. @param story The text of `viola --help` */
export function commandPages(places: readonly Place[], story: string, version: string): Page[] {
  const [top, ...rest] = places;
  const commands = rest.filter(({ words }) => !words.includes(" "));
  const names = commands.map(({ words }) => `viola-${words}`);
  const main = [
    ...head("viola", 1, "virtio devices in user space, for Linux's own drivers", version),
    ...[".SH SYNOPSIS", `${bold("viola")} COMMAND [OPTION]...`],
    ...[".SH DESCRIPTION", ...asIs(story)],
    ...[
      ".SH COMMANDS",
      ...top!.next.flatMap(({ word, description }) => item(bold(word), description)),
    ],
    ...[".SH OPTIONS", ...top!.options.flatMap(optionItem)],
    ...[".SH FILES", ...FILES.flatMap(([path, text]) => item(`\\fI${roff(path)}\\fR`, text))],
    ...seeAlso([...names.map((name) => [name, 1] as const), ["viola.toml", 5]]),
  ];
  const pages = commands.map((place): Page => ({
    name: `viola-${place.words}.1`,
    text: commandPage(
      place,
      rest.filter(({ words }) => words.startsWith(`${place.words} `)),
      version,
    ),
  }));
  return [{ name: "viola.1", text: pageText(main) }, dropInPage(version), ...pages];
}

/** The page of the executable's other name. */
function dropInPage(version: string): Page {
  const name = "virtio-loopback-adapter";
  const text =
    "By this name viola takes the command line of AGL's program, -d, -s, -l, -qn and -qs, and " +
    "exits with status 1 for every failure. Without options it lists them.";
  const lines = [
    ...head(name, 1, "viola in the place of AGL's program", version),
    ...[".SH SYNOPSIS", `${bold(name)} ${roff("-d DEVICE -s SOCKET [-l N] [-qn N -qs N]")}`],
    ...[".SH DESCRIPTION", roff(text)],
    ...seeAlso([["viola", 1], ["viola-attach", 1]]),
  ];
  return { name: `${name}.1`, text: pageText(lines) };
}

const FILES: readonly (readonly [path: string, text: string])[] = [
  ["/etc/viola/*.toml", "The scene that viola.service runs, see viola.toml(5)."],
  ["/etc/viola/nodes/loopback-N.toml", "The scene that viola@loopback-N.service runs."],
  ["/run/viola", "Sockets, of the control connection and of the descriptor store's process."],
  ["/usr/lib/viola/manifest", "What viola install wrote."],
];

function commandPage(place: Place, below: readonly Place[], version: string): string {
  const name = `viola-${place.words}`;
  return pageText([
    ...head(name, 1, asName(place.description), version),
    ...[".SH SYNOPSIS", `${bold(`viola ${place.words}`)} ${roff(place.usage)}`],
    ...[".SH DESCRIPTION", roff(place.description)],
    ...(below.length === 0 ? asIs(place.help) : []),
    ...[".SH OPTIONS", ...place.options.flatMap(optionItem)],
    ...below.flatMap((one) => belowSection(place, one)),
    ...[".SH EXIT STATUS", ...EXIT.flatMap(([status, text]) => item(bold(status), text))],
    ...seeAlso([["viola", 1], ["viola.toml", 5]]),
  ]);
}

/** A verb or class of a subcommand: what it has beside the subcommand's own options. */
function belowSection(place: Place, { words, description, options, help }: Place): string[] {
  const common = new Set(place.options.map(({ long }) => long));
  return [
    `.SH ${roff(words.toUpperCase())}`,
    roff(description),
    ...options.filter(({ long }) => !common.has(long)).flatMap(optionItem),
    ...(help === "" ? [] : [".PP", ...asIs(help)]),
  ];
}

const EXIT: readonly (readonly [status: string, text: string])[] = [
  ["0", "Success."],
  ["1", "Wrong usage."],
  ["2", "Something cannot be reached."],
  ["3", "It failed while running."],
];

function seeAlso(pages: readonly (readonly [name: string, section: number])[]): string[] {
  return [
    ".SH SEE ALSO",
    pages.map(([name, section]) => `${bold(name)}(${section})`).join(",\n"),
  ];
}

function pageText(lines: readonly string[]): string {
  return `.\\" Written by viola install.\n${lines.join("\n")}\n`;
}

/** viola.toml(5). */
export function scenePage(schema: Schema, version: string): Page {
  const sections = Object.entries(schema.properties ?? {}) as [string, Schema][];
  const text = pageText([
    ...head("viola.toml", 5, "a scene: the devices of a car, and who serves them", version),
    ...[".SH DESCRIPTION", roff(schema.description ?? "")],
    "It is TOML. A folder of such files is one scene, too.",
    ...sections.flatMap(([key, section]) => sectionOf(key, section)),
    ...seeAlso([["viola", 1], ["viola-up", 1], ["viola-device", 1]]),
  ]);
  return { name: "viola.toml.5", text };
}

function sectionOf(key: string, section: Schema): string[] {
  const isList = section.items !== undefined;
  const of = section.items ?? section.additionalProperties as Schema;
  const common = of.properties ?? {};
  return [
    `.SH ${roff(isList ? `[[${key}]]` : `[${key}.NAME]`)}`,
    roff(sentence(section.description ?? "")),
    ...keys(common),
    ...titled(of).flatMap(({ title, properties }) => {
      const own = keys(properties ?? {});
      return own.length === 0 ? [] : [`.SS ${roff(title!)}`, ...own];
    }),
  ];
}

/** The alternatives below a schema that have a title. */
function titled({ allOf = [], then, else: other, ...rest }: Schema): Schema[] {
  const below = [...allOf, then, other].filter((one) => one !== undefined).flatMap(titled);
  return rest.title === undefined ? below : [rest, ...below];
}

function keys(properties: Readonly<Record<string, Schema | true>>): string[] {
  return Object.entries(properties).flatMap(([key, value]) =>
    value === true ? [] : item(bold(key), keyText(value))
  );
}

/** What a key is, and what it may be. */
function keyText(schema: Schema): string {
  const { description = "", $comment, anyOf } = schema;
  const { minimum, maximum, enum: values } = anyOf?.[0] ?? schema;
  const allowed = values !== undefined
    ? values.join(", ")
    : minimum !== undefined && maximum !== undefined
    ? `${minimum} to ${maximum}`
    : $comment ?? "";
  const more = anyOf === undefined ? "" : "; one, or a list";
  const value = allowed + more;
  return sentence(value === "" ? description : `${description} [${value.replace(/^; /, "")}]`);
}

function sentence(text: string): string {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return first === "" || /[.:]$/.test(first) ? first : `${first}.`;
}
