/** Small pictures in SVG that read on a light and on a dark page. */
const STYLE = `<style>
  text { font: 12px system-ui, sans-serif; fill: #57606a }
  .title { font-size: 14px; font-weight: 600; fill: #24292f } .value { fill: #24292f }
  .axis { stroke: #8c959f; stroke-width: 1 } .grid { stroke: #8c959f; stroke-opacity: .25 }
  .a { fill: #0969da; stroke: #0969da } .b { fill: #bf8700; stroke: #bf8700 } .c { fill: #1a7f37; stroke: #1a7f37 } .d { fill: #cf222e; stroke: #cf222e }
  .line { fill: none; stroke-width: 2 } .spread { stroke: #24292f; stroke-opacity: .6 }
  @media (prefers-color-scheme: dark) {
    text { fill: #8d96a0 } .title, .value { fill: #e6edf3 } .spread { stroke: #e6edf3 }
  }
</style>`;

const escape = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

export interface Bar {
  readonly label: string;
  readonly value: number;
  readonly low?: number;
  readonly high?: number;
  readonly text: string;
  readonly kind?: 'a' | 'b' | 'c' | 'd';
}

/** Horizontal bars on a logarithmic axis: naive and batched differ by orders of magnitude. */
export function barChart(title: string, unit: string, bars: readonly Bar[]): string {
  const left = 330;
  const width = 900;
  const top = 40;
  const rowHeight = 24;
  const values = bars.flatMap(({ value, low, high }) => [value, low ?? value, high ?? value]).filter((value) => value > 0);
  const from = Math.floor(Math.log10(Math.min(...values)));
  const to = Math.ceil(Math.log10(Math.max(...values)) + 0.001);
  const x = (value: number) => left + ((Math.log10(Math.max(value, 10 ** from)) - from) / (to - from)) * (width - left - 110);
  const height = top + bars.length * rowHeight + 36;
  const lines: string[] = [];
  for (let power = from; power <= to; power++) {
    const at = x(10 ** power).toFixed(1);
    lines.push(`<line class="grid" x1="${at}" x2="${at}" y1="${top - 6}" y2="${height - 30}"/>`);
    lines.push(`<text x="${at}" y="${height - 14}" text-anchor="middle">${(10 ** power).toLocaleString('en-US')}</text>`);
  }
  bars.forEach((bar, i) => {
    const y = top + i * rowHeight;
    lines.push(`<text x="${left - 8}" y="${y + 14}" text-anchor="end">${escape(bar.label)}</text>`);
    lines.push(`<rect class="${bar.kind ?? 'a'}" x="${left}" y="${y + 2}" width="${(x(bar.value) - left).toFixed(1)}" height="16" rx="2" stroke="none"/>`);
    if (bar.low !== undefined && bar.high !== undefined) {
      lines.push(`<line class="spread" x1="${x(bar.low).toFixed(1)}" x2="${x(bar.high).toFixed(1)}" y1="${y + 10}" y2="${y + 10}"/>`);
    }
    lines.push(`<text class="value" x="${(x(Math.max(bar.value, bar.high ?? 0)) + 6).toFixed(1)}" y="${y + 14}">${escape(bar.text)}</text>`);
  });
  return svg(width, height, title, `<text class="title" x="12" y="20">${escape(title)} (${escape(unit)}, logarithmic)</text>${lines.join('\n')}`);
}

export interface Series {
  readonly name: string;
  readonly points: readonly (readonly [number, number])[];
}

export interface LineChart {
  readonly title: string;
  readonly x: string;
  readonly y: string;
  readonly series: readonly Series[];
  readonly logX?: boolean;
}

/** Panels of lines below each other; each y axis begins at zero. */
export function lineCharts(charts: readonly LineChart[]): string {
  const width = 900;
  const panel = 230;
  const body = charts.map((chart, i) => `<g transform="translate(0 ${i * panel})">${lineChart(chart, width, panel)}</g>`).join('\n');
  return svg(width, charts.length * panel, charts.map(({ title }) => title).join('; '), body);
}

function lineChart({ title, x, y, series, logX }: LineChart, width: number, height: number): string {
  const left = 80;
  const right = width - (series.length > 1 ? 170 : 40);
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
    `<text x="${right}" y="${bottom + 32}" text-anchor="end">${escape(x)}</text>`,
  ];
  for (const share of [0, 0.5, 1]) {
    parts.push(`<line class="grid" x1="${left}" x2="${right}" y1="${py(maxY * share).toFixed(1)}" y2="${py(maxY * share).toFixed(1)}"/>`);
    parts.push(`<text x="${left - 6}" y="${(py(maxY * share) + 4).toFixed(1)}" text-anchor="end">${(maxY * share).toLocaleString('en-US')}</text>`);
  }
  const ticks = [...new Set(points.map(([value]) => value))].sort((a, b) => a - b);
  const every = Math.ceil(ticks.length / 10);
  let free = -Infinity;
  ticks.filter((_, i) => i % every === 0).forEach((tick) => {
    if (px(tick) < free) return;
    free = px(tick) + 60;
    parts.push(`<text x="${px(tick).toFixed(1)}" y="${bottom + 16}" text-anchor="middle">${tick.toLocaleString('en-US')}</text>`);
  });
  series.forEach(({ name, points: own }, i) => {
    const kind = 'abcd'[i % 4];
    const path = own.filter(([, value]) => Number.isFinite(value)).map(([a, b]) => `${px(a).toFixed(1)},${py(b).toFixed(1)}`);
    parts.push(`<polyline class="line ${kind}" points="${path.join(' ')}" style="fill:none"/>`);
    if (path.length <= 30) parts.push(...path.map((at) => `<circle class="${kind}" cx="${at.split(',')[0]}" cy="${at.split(',')[1]}" r="3"/>`));
    if (series.length > 1) parts.push(`<rect class="${kind}" x="${right + 14}" y="${top + i * 18}" width="10" height="10"/><text x="${right + 30}" y="${top + i * 18 + 10}">${escape(name)}</text>`);
  });
  return parts.join('\n');
}

/** The next of 1, 2, 5, 10, 20 … at or above the value. */
export function niceMaximum(value: number): number {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * (1 - 1e-9)) ?? 10 * power;
}

function svg(width: number, height: number, label: string, body: string): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escape(label).replaceAll('"', '&quot;')}">\n${STYLE}\n${body}\n</svg>\n`;
}
