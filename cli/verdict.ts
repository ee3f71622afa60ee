// SPDX-License-Identifier: Apache-2.0
/**
 * What the demo shows: a line per card while it plays, and the verdict at its end.
 *
 * @module
 */
import type { SoundProgress } from "../lib/classes/sound/progress.ts";
import { frameBytes, type WavFormat, wavFormatText } from "../lib/wav/mod.ts";
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
  /** Bytes behind the input's last whole frame, which nobody can play. */
  restBytes: number;
  /** What is odd about the input, in words. */
  remarks: string[];
  priority: number;
}

/** How a card did. */
export interface CardVerdict extends Part, Comparison {
  /** XRUN events of the device. */
  xruns: number;
  /** Buffers that the device could not play. */
  ioErrors: number;
  /** What the device reported as errors: the first few. */
  deviceErrors: string[];
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
export function liveLine(part: Part, now: SoundProgress): string {
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
export function cardFault(verdict: CardVerdict): string {
  const { card, output, equal, difference, xruns, ioErrors, deviceErrors } = verdict;
  const faults = [
    ...(equal ? [] : [`${output} does not equal what was played: ${difference}`]),
    ...(ioErrors > 0 ? [counted(ioErrors, "io error")] : []),
    ...(xruns > 0 ? [`${counted(xruns, "xrun")}, the sound had gaps`] : []),
  ];
  if (faults.length === 0) return "";
  return `card ${card}: ${[...faults, ...deviceErrors].join("; ")}`;
}

/** What is odd about a card's input, a line each. */
export function remarkLines({ remarks }: Part): string[] {
  return remarks.map((remark) => `        ${remark}`);
}

/** What is said of bytes that are no whole frame; empty when there are none. */
export function restText({ restBytes }: Part): string {
  return restBytes === 0 ? "" : `, without its last ${counted(restBytes, "byte")}: no whole frame`;
}

const STEP_NAMES: Record<string, string> = {
  devices: "devices up",
  cards: "cards found",
  sound: "first sound",
  ended: "all ended",
};

/** The verdict for people, line by line. */
export function verdictLines({ cards, steps, ms, ok }: Verdict): string[] {
  const lines = cards.flatMap((card) => {
    const relation = card.equal ? "equals" : "does not equal";
    const facts = `${card.frames} frames, ${wavFormatText(card.format)}`;
    return [
      `card ${card.card}  ${card.output} ${relation} ${card.input}${restText(card)}`,
      `        ${facts}; ${counted(card.xruns, "xrun")}`,
      ...remarkLines(card),
    ];
  });
  const times = Object.entries(steps).map(([step, time]) =>
    `${STEP_NAMES[step] ?? step} ${duration(time)}`
  );
  return [
    ...lines,
    `times   ${times.join(", ")}; ${duration(ms)} in all`,
    ...(ok ? [`verdict all is well: what came out is ${whatWentIn(cards)}, to the last bit`] : []),
  ];
}

function whatWentIn(cards: readonly Part[]): string {
  const isWhole = cards.every(({ restBytes }) => restBytes === 0);
  return isWhole ? "what went in" : "every whole frame that went in";
}
