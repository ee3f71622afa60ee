// SPDX-License-Identifier: Apache-2.0
/**
 * What the demo shows: a line per card while it plays, and the verdict at its end.
 *
 * @module
 */
import type { ProgressSnapshot } from "../lib/guest/mod.ts";
import { frameBytes, type WavFormat, wavFormatText } from "../lib/wav.ts";
import type { Comparison } from "./compare.ts";
import { counted, duration } from "./report.ts";

/** What there is to play on a card. */
export interface Part {
  /** 0 or 1. */
  card: number;
  /** The file it plays. */
  input: string;
  /** The file that the card's sound goes to. */
  output: string;
  format: WavFormat;
  frames: number;
  priority: number;
}

/** How a card did. */
export interface CardVerdict extends Part, Comparison {
  /** XRUN events of the device. */
  xruns: number;
  /** The longest time between two buffers given back, in milliseconds. */
  longestPeriodMs: number;
}

/** How it all went. */
export interface Verdict {
  ok: boolean;
  pace: "real" | "free";
  memory: "isolated" | "direct";
  cards: CardVerdict[];
  /** How long each step took in milliseconds, in order. */
  steps: Record<string, number>;
  /** All of it. */
  ms: number;
}

const BAR = 16;

/** "card 0  ━━━━━━────  3.2 of 8.0 s  running  no xruns  latency 21 ms" */
export function liveLine(part: Part, now: ProgressSnapshot): string {
  const { rate } = part.format;
  const share = part.frames === 0 ? 1 : Math.min(1, now.position / part.frames);
  const bar = "━".repeat(Math.round(share * BAR)).padEnd(BAR, "─");
  const seconds = (frames: number) => (frames / rate).toFixed(1);
  // From the application to the ear: what lies in the card's buffer, and behind it.
  const frames = now.buffered + now.latencyBytes / frameBytes(part.format);
  const latency = duration(1000 * frames / rate);
  return [
    `card ${part.card}`,
    bar,
    `${seconds(now.position).padStart(5)} of ${seconds(part.frames)} s`,
    now.state.padEnd(9),
    counted(now.xruns, "xrun"),
    `latency ${latency}`,
  ].join("  ");
}

/** What is wrong with a card, in words; empty when nothing is. */
export function cardFault({ card, output, equal, difference, xruns }: CardVerdict): string {
  if (!equal) return `card ${card}: ${output} does not equal what was played: ${difference}`;
  return xruns > 0 ? `card ${card}: ${counted(xruns, "xrun")}, the sound had gaps` : "";
}

const STEP_NAMES: Record<string, string> = {
  devices: "devices up",
  cards: "cards found",
  sound: "first sound",
  ended: "all ended",
};

/** The verdict for people. */
export function verdictText({ cards, steps, ms, ok }: Verdict): string {
  const lines = cards.map((card) => {
    const relation = card.equal ? "equals" : "does not equal";
    const facts = `${card.frames} frames, ${wavFormatText(card.format)}`;
    return `card ${card.card}  ${card.output} ${relation} ${card.input}\n` +
      `        ${facts}; ${counted(card.xruns, "xrun")}`;
  });
  const times = Object.entries(steps).map(([step, time]) =>
    `${STEP_NAMES[step] ?? step} ${duration(time)}`
  );
  return [
    ...lines,
    `times   ${times.join(", ")}; ${duration(ms)} in all`,
    ...(ok ? ["verdict all is well: what came out is what went in, to the last bit"] : []),
  ].join("\n");
}
