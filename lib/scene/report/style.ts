// SPDX-License-Identifier: Apache-2.0
/**
 * The style of a report: light and dark, on a phone and on paper.
 *
 * @module
 */

/** A style sheet. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --back: #ffffff; --text: #1c1c1c; --weak: #5c5c5c; --line: #d5d5d5; --plot: #f5f5f2;
  --wave: #2c5f8a; --good: #1e6b34; --bad: #b3261e; --outage: #f2c9c4; --pause: #e3e0cf;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #16181a; --text: #e6e6e3; --weak: #a3a3a0; --line: #3a3d40; --plot: #1f2225;
    --wave: #7fb3dc; --good: #7ccf91; --bad: #ff8a80; --outage: #55302d; --pause: #3b392c;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1rem; max-width: 60rem; background: var(--back); color: var(--text);
  font: 1rem/1.45 system-ui, sans-serif; overflow-wrap: break-word;
}
h1 { font-size: 1.5rem; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
p { margin: .25rem 0; }
.weak, .axis, th { color: var(--weak); }
.good { color: var(--good); font-weight: 600; }
.bad { color: var(--bad); font-weight: 600; }
figure { margin: 0; break-inside: avoid; }
.plot { position: relative; background: var(--plot); border: 1px solid var(--line); }
.plot svg { display: block; width: 100%; height: 6rem; }
.plot.low svg { height: 3.5rem; }
.axis { display: flex; justify-content: space-between; font-size: .8rem; }
.marks { position: relative; height: 1.4rem; font-size: .75rem; }
.marks span {
  position: absolute; transform: translateX(-50%); min-width: 1.2rem; padding: 0 .2rem;
  text-align: center; border: 1px solid var(--line); border-radius: .6rem; background: var(--back);
}
svg path { vector-effect: non-scaling-stroke; }
.wave { fill: var(--wave); stroke: var(--wave); stroke-width: 1; }
.bar { fill: var(--wave); }
.cue { stroke: var(--weak); stroke-width: 1; stroke-dasharray: 2 3; }
.xrun { stroke: var(--bad); stroke-width: 3; }
.outage { fill: var(--outage); }
.pause { fill: var(--pause); }
audio { width: 100%; margin-top: .4rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .2rem .6rem .2rem 0; border-bottom: 1px solid var(--line); }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td .short { white-space: nowrap; }
tr { break-inside: avoid; }
@media print {
  :root { --back: #fff; --text: #000; --weak: #444; --line: #bbb; --plot: #fff; --wave: #333;
    --good: #000; --bad: #000; --outage: #ccc; --pause: #e8e8e8; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  audio { display: none; }
  * { print-color-adjust: exact; }
}
`;
