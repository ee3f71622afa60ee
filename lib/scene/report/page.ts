// SPDX-License-Identifier: Apache-2.0
/**
 * A demo's report as a page: one file without a script, which opens from disk. The recordings lie beside it.
 *
 * @module
 */
import type { CardReport, DemoReport, Latency, Moment, Stretch } from "./data.ts";
import { Html, type HtmlValue, markup } from "./html.ts";
import { cardPicture, latencyPicture } from "./pictures.ts";
import { STYLE } from "./style.ts";

/** The whole page. */
export function pageOf(report: DemoReport): string {
  const { title, ok, begun, seconds, about } = report;
  const [name, verdict] = ok
    ? ["good", "All expectations hold"]
    : ["bad", "Not all expectations hold"];
  return markup`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}: a demo of viola</title>
<style>${new Html(STYLE)}</style>
</head>
<body>
<h1>${title}</h1>
<p class="${name}">${verdict}.</p>
<p class="weak">A demo of viola, ${seconds.toFixed(1)} s, begun ${begun}.</p>
${expectations(report)}
${cards(report)}
${cueTable(report)}
${noteTable(report)}
${latencies(report)}
<h2>Versions and machine</h2>
${table(null, Object.entries(about).map(([what, value]) => [what, value]))}
</body>
</html>
`.text;
}

/** A table; a cell that is a number is set flush right. */
function table(heads: readonly string[] | null, rows: readonly (readonly HtmlValue[])[]): Html {
  const cell = (value: HtmlValue): Html =>
    typeof value === "number"
      ? markup`<td class="number">${value}</td>`
      : markup`<td>${value}</td>`;
  const head = heads === null ? null : markup`<thead>
<tr>${heads.map((one) => markup`<th scope="col">${one}</th>`)}</tr>
</thead>`;
  return markup`<table>${head}<tbody>${
    rows.map((row) =>
      markup`<tr>${row.map(cell)}</tr>
`
    )
  }</tbody></table>`;
}

function expectations({ verdicts }: DemoReport): Html {
  const rows = verdicts.map(({ ok, expected, found }) => [
    ok
      ? markup`<span class="good short">✓ holds</span>`
      : markup`<span class="bad short">✗ does not hold</span>`,
    expected,
    found,
  ]);
  return markup`<h2>Expectations</h2>
${table(["", "expected", "found"], rows)}`;
}

// ---- cards ----

function cards(report: DemoReport): Html | null {
  if (report.cards.length === 0) return null;
  return markup`<h2>Cards</h2>
<p class="weak">One time axis for all. Dotted lines are cues, numbered as in the list below.</p>
${report.cards.map((card) => cardFigure(card, report))}`;
}

function cardFigure(card: CardReport, report: DemoReport): Html {
  const { device, format, seconds, recording } = card;
  return markup`<figure>
<h3>${device}</h3>
<p class="weak">${format}; ${seconds.toFixed(3)} s were recorded</p>
${marks(card, report)}
<div class="plot">${cardPicture(card, report)}</div>
${axis(report.seconds, "s")}
${facts(card).map((fact) => markup`<p>${fact}</p>`)}
<audio controls preload="none" src="${
    encodeURIComponent(
      recording,
    )
  }" aria-label="recording of ${device}"></audio>
</figure>`;
}

/** The numbers of cues above a card's picture; those of one moment share a mark. */
function marks({ device }: CardReport, { cues, seconds }: DemoReport): Html {
  const places = new Map<string, number[]>();
  cues.forEach((cue, i) => {
    if (cue.device !== device && cue.device !== null) return;
    const left = (100 * cue.t / seconds).toFixed(1);
    places.set(left, [...places.get(left) ?? [], i + 1]);
  });
  const spans = [...places].map(([left, numbers]) =>
    markup`<span style="left:${left}%">${numbers.join(", ")}</span>`
  );
  return markup`<div class="marks">${spans}</div>`;
}

/** The beginning, the middle and the end. */
function axis(length: number, unit: string): Html {
  const at = (value: number): Html => markup`<span>${value.toFixed(1)} ${unit}</span>`;
  return markup`<div class="axis">${at(0)}${at(length / 2)}${at(length)}</div>`;
}

/** What happened to a card, a sentence each. */
function facts({ outages, pauses, xruns }: CardReport): string[] {
  return [
    ...outages.map((one) => `The back-end was away ${stretchText(one)}.`),
    ...pauses.map((one) => `It paused ${stretchText(one)}.`),
    ...xruns.map((t) => `An underrun was reported at ${t.toFixed(3)} s.`),
  ];
}

function stretchText({ from, to, hasEnded }: Stretch): string {
  if (!hasEnded) return `from ${from.toFixed(3)} s to the end`;
  return `from ${from.toFixed(3)} s to ${to.toFixed(3)} s, for ${(to - from).toFixed(3)} s`;
}

// ---- lists ----

function time(t: number): Html {
  return markup`<span class="weak short">${t.toFixed(3)} s</span>`;
}

function cueTable({ cues }: DemoReport): Html {
  const rows = cues.map(({ t, device, text }, i) => [
    i + 1,
    time(t),
    device ?? "",
    text,
  ]);
  return markup`<h2>Cues</h2>
${table(["", "time", "device", "what happens"], rows)}`;
}

function noteTable({ notes }: DemoReport): Html | null {
  if (notes.length === 0) return null;
  const row = (
    { t, device, text }: Moment,
  ): HtmlValue[] => [time(t), device ?? "", text];
  return markup`<h2>What came of it</h2>
${table(["time", "device", "what was reported"], notes.map(row))}`;
}

// ---- latency ----

function latencies({ cards }: DemoReport): Html | null {
  const seen = cards.flatMap(({ device, latency }) =>
    latency === null ? [] : [{ device, latency }]
  );
  if (seen.length === 0) return null;
  const row = (
    { device, latency: { count, p50, p99, most } }: typeof seen[number],
  ): HtmlValue[] => [
    device,
    count,
    p50,
    p99,
    most,
  ];
  return markup`<h2>Latency</h2>
<p class="weak">From the driver to the ear: what the card holds, and what its device reports, in milliseconds, ten times a second.</p>
${table(["card", "values", "median", "p99", "most"], seen.map(row))}
${seen.map(({ device, latency }) => latencyFigure(device, latency))}`;
}

function latencyFigure(device: string, latency: Latency): Html {
  return markup`<figure>
<h3>${device}</h3>
<div class="plot low">${latencyPicture(device, latency)}</div>
${axis(latency.barMs * latency.bars.length, "ms")}
</figure>`;
}
