// SPDX-License-Identifier: Apache-2.0
/**
 * The demo's output: a line per card while it plays, and the verdict at the end.
 *
 * @module
 */
import type { SoundProgress } from "../lib/classes/sound/progress.ts";
import { frameBytes, type WavFormat, wavFormatText } from "../lib/wav/mod.ts";
import type { Comparison } from "./compare.ts";
import { counted, duration } from "./report.ts";

/** What a card plays. */
export interface Part {
  /** 0 or 1. */
  card: number;
  /** The file it plays. */
  input: string;
  /** The card's output file. */
  output: string;
  format: WavFormat;
  frames: number;
  /** Bytes after the input's last whole frame, which cannot be played. */
  restBytes: number;
  /** What is odd about the input, as sentences. */
  remarks: string[];
  priority: number;
}

/** A card's result. */
export interface CardVerdict extends Part, Comparison {
  /** XRUN events of the device. */
  xruns: number;
  /** Buffers that the device could not play. */
  ioErrors: number;
  /** Errors that the device reported: the first few. */
  deviceErrors: string[];
  /** The longest time between two returned buffers, in milliseconds. */
  longestPeriodMs: number;
}

/** The demo's result. */
export interface Verdict {
  ok: boolean;
  pace: "real" | "free";
  memory: "isolated" | "direct";
  cards: CardVerdict[];
  /** How long each step took in milliseconds, in order. */
  steps: Record<string, number>;
  /** The whole time in milliseconds. */
  ms: number;
}

const BAR = 16;

/** "card 0  ━━━━━━────  3.2 of 8.0 s  running  no xruns  latency 21 ms" */
export function liveLine(part: Part, now: SoundProgress): string {
  const { rate } = part.format;
  const share = part.frames === 0 ? 1 : Math.min(1, now.position / part.frames);
  const bar = "━".repeat(Math.round(share * BAR)).padEnd(BAR, "─");
  const seconds = (frames: number) => (frames / rate).toFixed(1);
  // From the application to the ear: the card's buffer, and the latency after it.
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

/** What is wrong with a card, as text; empty when nothing is. */
export function cardFault(verdict: CardVerdict): string {
  const { card, output, equal, difference, xruns, ioErrors, deviceErrors } = verdict;
  const faults = [
    ...(equal ? [] : [`${output} does not equal what was played: ${difference}`]),
    ...(ioErrors > 0 ? [counted(ioErrors, "I/O error")] : []),
    ...(xruns > 0 ? [`${counted(xruns, "xrun")}, the sound had gaps`] : []),
  ];
  if (faults.length === 0) return "";
  return `card ${card}: ${[...faults, ...deviceErrors].join("; ")}`;
}

/** Remarks on a card's input, a line each. */
export function remarkLines({ remarks }: Part): string[] {
  return remarks.map((remark) => `        ${remark}`);
}

/** A remark on bytes that are not a whole frame; empty when there are none. */
export function restText({ restBytes }: Part): string {
  return restBytes === 0
    ? ""
    : `, without its last ${counted(restBytes, "byte")}: not a whole frame`;
}

const STEP_NAMES: Record<string, string> = {
  devices: "devices listening",
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
    ...(ok ? [`verdict success: the output equals ${whatWentIn(cards)}, bit for bit`] : []),
  ];
}

function whatWentIn(cards: readonly Part[]): string {
  const isWhole = cards.every(({ restBytes }) => restBytes === 0);
  return isWhole ? "the input" : "every whole frame of the input";
}
