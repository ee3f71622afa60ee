// SPDX-License-Identifier: Apache-2.0
/**
 * The pictures of a report, as SVG without text: they are stretched to the width of the page.
 *
 * @module
 */
import type { CardReport, DemoReport, Latency, Stretch } from "./data.ts";
import { Html, markup } from "./html.ts";
import type { Column } from "./waveform.ts";

/** Units of a picture's width and height. */
const WIDTH = 1000;
const HEIGHT = 100;

/** A length or place, in few digits. */
function digits(value: number): string {
  return String(Math.round(100 * value) / 100);
}

function picture(label: string, content: readonly Html[]): Html {
  return markup`<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label="${label}">${content}</svg>`;
}

/** A card on the time axis: what it recorded, and when its back-end was away, it paused, or had nothing to play. */
export function cardPicture(card: CardReport, { seconds, cues }: DemoReport): Html {
  const x = (t: number): number => WIDTH * t / seconds;
  const about = cues.filter(({ device }) => device === card.device || device === null);
  const label = `${card.device}: ${card.outages.length} outages, ${card.xruns.length} underruns`;
  return picture(label, [
    ...card.outages.map((one) => band("outage", one, x)),
    ...card.pauses.map((one) => band("pause", one, x)),
    ...about.map(({ t }) => upright("cue", x(t), HEIGHT)),
    markup`<path class="wave" d="${wavePath(card.columns)}"/>`,
    ...card.xruns.map((t) => upright("xrun", x(t), HEIGHT / 6)),
  ]);
}

function band(name: string, { from, to }: Stretch, x: (t: number) => number): Html {
  const width = digits(Math.max(1, x(to) - x(from)));
  return markup`<rect class="${name}" x="${
    digits(x(from))
  }" y="0" width="${width}" height="${HEIGHT}"/>`;
}

function upright(name: string, x: number, height: number): Html {
  return markup`<path class="${name}" d="M${digits(x)} 0V${digits(height)}"/>`;
}

/** The outline of a waveform, one closed piece for each stretch that was recorded. */
export function wavePath(columns: readonly Column[]): string {
  const step = WIDTH / columns.length;
  const y = (sample: number): string => digits(HEIGHT / 2 * (1 - sample));
  const pieces: string[] = [];
  for (let i = 0; i < columns.length; i++) {
    if (columns[i] === null) continue;
    const begin = i;
    while (i < columns.length && columns[i] !== null) i++;
    const run = columns.slice(begin, i) as [number, number][];
    const xs = run.map((_, n) => digits((begin + n + 0.5) * step));
    const above = run.map(([, high], n) => `${xs[n]} ${y(high)}`);
    const below = run.map(([low], n) => `${xs[n]} ${y(low)}`);
    pieces.push(`M${[...above, ...below.reverse()].join("L")}Z`);
  }
  return pieces.join("");
}

/** How often each latency was seen. */
export function latencyPicture(device: string, { bars, count, barMs }: Latency): Html {
  const most = Math.max(...bars);
  const width = WIDTH / bars.length;
  const label = `latencies of ${device}: ${count} from 0 to ${barMs * bars.length} ms`;
  return picture(
    label,
    bars.map((seen, i) => {
      const height = HEIGHT * seen / most;
      const [left, top] = [digits(i * width + 1), digits(HEIGHT - height)];
      return markup`<rect class="bar" x="${left}" y="${top}" width="${digits(width - 2)}" height="${
        digits(
          height,
        )
      }"/>`;
    }),
  );
}
