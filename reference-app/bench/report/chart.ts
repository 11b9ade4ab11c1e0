/** Small pictures in SVG that can be read on a light and on a dark page. */

const STYLE = `<style>
  text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #57606a }
  .page { fill: #ffffff }
  .title { font-size: 15px; font-weight: 600; fill: #24292f } .label, .value { fill: #24292f } .strong { font-weight: 600; fill: #24292f }
  .axis { stroke: #8c959f; stroke-width: 1 } .grid { stroke: #8c959f; stroke-opacity: .25 } .link { stroke: #8c959f; stroke-width: 2 }
  .a { fill: #0969da; stroke: #0969da } .b { fill: #bf8700; stroke: #bf8700 } .c { fill: #1a7f37; stroke: #1a7f37 } .d { fill: #cf222e; stroke: #cf222e }
  .line { fill: none; stroke-width: 2 } .ring { fill: #ffffff; stroke-width: 3 }
  @media (prefers-color-scheme: dark) {
    text { fill: #9198a1 } .page, .ring { fill: #0d1117 } .title, .label, .value, .strong { fill: #f0f6fc }
    .a { fill: #4493f8; stroke: #4493f8 } .b { fill: #d29922; stroke: #d29922 } .c { fill: #3fb950; stroke: #3fb950 } .d { fill: #f85149; stroke: #f85149 }
    .line { fill: none } .ring { fill: #0d1117 }
  }
</style>`;

const WIDTH = 900;

const escape = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/** A naive and a measured value of the same stage. */
export interface Pair {
  readonly label: string;
  readonly naive: number;
  readonly measured: number;
  /** The measured value as a multiple of the naive one. */
  readonly ratio: string;
  /** The cost of a piece of the measured work, with its unit. @default - not shown */
  readonly cost?: string;
}

export interface PairChart {
  readonly title: string;
  /** A sentence about the axis. */
  readonly note: string;
  readonly pairs: readonly Pair[];
}

/**
 * Pairs of dots on a logarithmic axis. Dots and no bars, since the length of a bar means nothing on an axis without a zero; here the
 * distance of two dots is their ratio, the same everywhere.
 */
export function pairChart({ title, note, pairs }: PairChart): string {
  const [left, right, top, rowHeight] = [220, WIDTH - 160, 92, 46];
  const bottom = top + pairs.length * rowHeight;
  const values = pairs.flatMap(({ naive, measured }) => [naive, measured]);
  // Half a decade of room on the left for the text before the smallest dot.
  const from = Math.floor(Math.log10(Math.min(...values)) * 2 - 1) / 2;
  const to = Math.ceil(Math.log10(Math.max(...values)));
  const x = (value: number) => left + ((Math.log10(value) - from) / (to - from)) * (right - left);
  const parts = [
    `<text class="title" x="16" y="28">${escape(title)}</text>`,
    `<text x="16" y="48">${escape(note)}</text>`,
    '<circle class="b ring" cx="22" cy="69" r="5"/><text class="label" x="34" y="73">naive</text>',
    '<circle class="a" cx="96" cy="69" r="6"/><text class="label" x="108" y="73">measured</text>',
  ];
  for (let power = Math.ceil(from); power <= to; power++) {
    const at = x(10 ** power).toFixed(1);
    parts.push(`<line class="grid" x1="${at}" x2="${at}" y1="${top}" y2="${bottom}"/>`);
    parts.push(`<text x="${at}" y="${bottom + 20}" text-anchor="middle">${(10 ** power).toLocaleString('en-US')}</text>`);
  }
  pairs.forEach(({ label, naive, measured, ratio, cost }, i) => {
    const y = top + i * rowHeight + rowHeight / 2 + 4;
    const [low, high] = [x(naive), x(measured)];
    const round = (value: number) => Math.round(value).toLocaleString('en-US');
    parts.push(
      `<g class="pair"><text class="label" x="16" y="${y + 4}">${escape(label)}</text>`,
      `<line class="link" x1="${low.toFixed(1)}" x2="${high.toFixed(1)}" y1="${y}" y2="${y}"/>`,
      `<circle class="b ring" cx="${low.toFixed(1)}" cy="${y}" r="5"/><circle class="a" cx="${high.toFixed(1)}" cy="${y}" r="6"/>`,
      `<text class="value" x="${(low - 12).toFixed(1)}" y="${y + 4}" text-anchor="end">${round(naive)}</text>`,
      `<text class="value" x="${(high + 12).toFixed(1)}" y="${y + 4}">${[round(measured), ...(cost === undefined ? [] : [cost])].join(', ')}</text>`,
      `<text class="strong" x="${((low + high) / 2).toFixed(1)}" y="${y - 8}" text-anchor="middle">${escape(ratio)}</text></g>`,
    );
  });
  return svg(bottom + 36, title, parts.join('\n'));
}

export interface Series {
  readonly name: string;
  readonly points: readonly (readonly [number, number])[];
}

export interface LineChart {
  readonly title: string;
  /** Name of the horizontal axis. */
  readonly x: string;
  /** Unit of the vertical axis. */
  readonly y: string;
  readonly series: readonly Series[];
  /** A logarithmic horizontal axis. @default false */
  readonly logX?: boolean;
}

/** Panels of lines below each other; each vertical axis begins at zero. */
export function lineCharts(charts: readonly LineChart[]): string {
  const panel = 230;
  const body = charts.map((chart, i) => `<g transform="translate(0 ${i * panel})">${lineChart(chart, panel)}</g>`).join('\n');
  return svg(charts.length * panel, charts.map(({ title }) => title).join('; '), body);
}

function lineChart({ title, x, y, series, logX }: LineChart, height: number): string {
  const left = 80;
  const right = WIDTH - (series.length > 1 ? 170 : 40);
  const top = 36;
  const bottom = height - 42;
  const points = series.flatMap(({ points: own }) => own).filter(([, value]) => Number.isFinite(value));
  const along = (value: number) => (logX ? Math.log10(value) : value);
  const xs = points.map(([value]) => along(value));
  const [minX, maxX] = [Math.min(...xs), Math.max(...xs)];
  const maxY = niceMaximum(Math.max(...points.map(([, value]) => value), 0));
  const px = (value: number) => left + ((along(value) - minX) / (maxX - minX || 1)) * (right - left);
  const py = (value: number) => bottom - (value / maxY) * (bottom - top);
  const parts = [
    `<text class="title" x="12" y="20">${escape(title)} (${escape(y)})</text>`,
    `<line class="axis" x1="${left}" x2="${right}" y1="${bottom}" y2="${bottom}"/>`,
    `<text x="${right}" y="${bottom + 34}" text-anchor="end">${escape(x)}</text>`,
  ];
  for (const share of [0, 0.5, 1]) {
    const at = py(maxY * share);
    parts.push(`<line class="grid" x1="${left}" x2="${right}" y1="${at.toFixed(1)}" y2="${at.toFixed(1)}"/>`);
    parts.push(`<text x="${left - 6}" y="${(at + 4).toFixed(1)}" text-anchor="end">${(maxY * share).toLocaleString('en-US')}</text>`);
  }
  for (const tick of ticksOf(points.map(([value]) => value), px)) {
    parts.push(`<text x="${px(tick).toFixed(1)}" y="${bottom + 17}" text-anchor="middle">${tick.toLocaleString('en-US', { maximumFractionDigits: 1 })}</text>`);
  }
  series.forEach(({ name, points: own }, i) => {
    const kind = 'abcd'[i % 4];
    const path = own.filter(([, value]) => Number.isFinite(value)).map(([a, b]) => [px(a).toFixed(1), py(b).toFixed(1)] as const);
    parts.push(`<polyline class="${kind} line" points="${path.map((at) => at.join(',')).join(' ')}" style="fill:none"/>`);
    if (path.length <= 30) parts.push(...path.map(([cx, cy]) => `<circle class="${kind}" cx="${cx}" cy="${cy}" r="3"/>`));
    if (series.length > 1) {
      const at = top + i * 18;
      parts.push(`<rect class="${kind}" x="${right + 14}" y="${at}" width="10" height="10"/>`);
      parts.push(`<text x="${right + 30}" y="${at + 10}">${escape(name)}</text>`);
    }
  });
  return parts.join('\n');
}

/** At most ten of the values, with room between their texts. */
function ticksOf(values: readonly number[], px: (value: number) => number): number[] {
  const all = [...new Set(values)].sort((a, b) => a - b);
  const every = Math.ceil(all.length / 10);
  let free = -Infinity;
  return all.filter((tick, i) => {
    if (i % every !== 0 || px(tick) < free) return false;
    free = px(tick) + 60;
    return true;
  });
}

/** The next of 1, 2, 5, 10, 20 … at or above the value. */
export function niceMaximum(value: number): number {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * (1 - 1e-9)) ?? 10 * power;
}

function svg(height: number, label: string, body: string): string {
  const described = escape(label).replaceAll('"', '&quot;');
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${described}">\n${STYLE}\n`
    + `<rect class="page" width="${WIDTH}" height="${height}" rx="8"/>\n${body}\n</svg>\n`;
}
