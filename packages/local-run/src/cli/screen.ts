import { stripVTControlCharacters, styleText } from 'node:util';

export type Style = Parameters<typeof styleText>[0];

/**
 * Permanent lines, and on a terminal below them a few live ones that are drawn again and again. Piped output gets the permanent lines
 * only, without control characters.
 */
export interface Screen {
  readonly live: boolean;
  line(text?: string): void;
  /** Replaces the live lines; does nothing when piped. */
  status(lines: readonly string[]): void;
  paint(style: Style, text: string): string;
}

export function screen(stream: NodeJS.WriteStream): Screen {
  const live = stream.isTTY === true && process.env.TERM !== 'dumb';
  let drawn: readonly string[] = [];
  // The reader of a pipe went away, and does not come back.
  let closed = false;
  stream.on('error', () => (closed = true));
  const write = (text: string) => closed || stream.write(text);
  const clear = () => (drawn.length > 0 ? `\x1b[${drawn.length}A\x1b[0J` : '');
  const block = () => drawn.map((line) => `${clip(line, stream.columns ?? 80)}\n`).join('');
  return {
    live,
    line: (text = '') => {
      write(`${clear()}${text}\n${block()}`);
    },
    status: (lines) => {
      if (!live) return;
      const before = clear();
      drawn = lines.slice(-(Math.max(2, stream.rows ?? 24) - 1));
      write(before + block());
    },
    // Knows about NO_COLOR, FORCE_COLOR and whether the stream is a terminal.
    paint: (style, text) => styleText(style, text, { stream, validateStream: true }),
  };
}

/** A live line that wraps would take two rows, and the next drawing would miss one. */
function clip(line: string, columns: number): string {
  const bare = stripVTControlCharacters(line);
  return bare.length < columns ? line : bare.slice(0, columns - 1);
}

/** Steps with a line and a time each. */
export interface Steps {
  /** Begins a step; the returned functions end it. Only one runs at a time: a new one ends the step before. */
  begin(label: string): void;
  end(detail?: string): void;
  fail(): void;
}

const WIDTH = 52;

export function steps(out: Screen): Steps {
  let current: { label: string; started: number; timer?: NodeJS.Timeout } | undefined;
  const finish = (mark: string, detail?: string) => {
    if (!current) return;
    clearInterval(current.timer);
    out.status([]);
    const time = seconds(performance.now() - current.started).padStart(8);
    out.line(`${mark} ${current.label.padEnd(WIDTH)} ${out.paint('dim', time)}${detail ? `  ${out.paint('dim', detail)}` : ''}`);
    current = undefined;
  };
  const done = (detail?: string) => finish(out.paint('green', '✓'), detail);
  return {
    begin(label) {
      done();
      const started = performance.now();
      current = { label, started };
      if (!out.live) return;
      const draw = () => out.status([`… ${label.padEnd(WIDTH)} ${seconds(performance.now() - started).padStart(8)}`]);
      draw();
      current.timer = setInterval(draw, 100);
      current.timer.unref();
    },
    end: done,
    fail: () => finish(out.paint('red', '✗')),
  };
}

export function seconds(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

const LIVE_MS = 100;
const PIPED_MS = 5_000;

/** Shows a changing text: in place on a terminal, as a line now and then elsewhere. */
export function periodically(out: Screen, text: () => string): () => void {
  const timer = setInterval(() => (out.live ? out.status([text()]) : text() && out.line(text())), out.live ? LIVE_MS : PIPED_MS);
  return () => {
    clearInterval(timer);
    out.status([]);
  };
}
