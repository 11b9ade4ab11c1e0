type Range = readonly [first: number, last: number];

/**
 * Controls, invisible format characters such as those that turn the direction of text, ends of lines, and what is no character. They can
 * make a line of a log or of a screen look like another one.
 */
const INVISIBLE: readonly Range[] = [
  [0x00, 0x1f], [0x7f, 0x9f], [0xad, 0xad], [0x600, 0x605], [0x61c, 0x61c], [0x6dd, 0x6dd], [0x70f, 0x70f], [0x890, 0x891], [0x8e2, 0x8e2],
  [0x180e, 0x180e], [0x200b, 0x200f], [0x2028, 0x202e], [0x2060, 0x206f], [0xfdd0, 0xfdef], [0xfeff, 0xfeff], [0xfff9, 0xffff],
  [0x110bd, 0x110bd], [0x110cd, 0x110cd], [0x13430, 0x1343f], [0x1bca0, 0x1bca3], [0x1d173, 0x1d17a], [0xe0000, 0xe0fff],
  ...Array.from({ length: 16 }, (_, plane): Range => [(plane + 1) * 0x10000 + 0xfffe, (plane + 1) * 0x10000 + 0xffff]),
];
const SPACES: readonly Range[] = [
  [0x20, 0x20], [0xa0, 0xa0], [0x1680, 0x1680], [0x2000, 0x200a], [0x202f, 0x202f], [0x205f, 0x205f], [0x3000, 0x3000],
];

// The characters themselves: every other way to write them, and `\p{…}` and `(?=…)`, is unknown to the patterns of Go or Python.
const rangeOf = ([first, last]: Range) => [...new Set([first, last])].map((point) => String.fromCodePoint(point)).join('-');
const anyBut = (ranges: readonly Range[]) => `[^${ranges.map(rangeOf).join('')}]`;
const VISIBLE = anyBut(INVISIBLE);
const INK = anyBut([...INVISIBLE, ...SPACES]);

/** The pattern of text of 1 to `max` visible characters, without spaces at its ends. Half a character passes: see `isWellFormed`. */
export function textPattern(max: number): string {
  return `^${INK}(${VISIBLE}{0,${max - 2}}${INK})?$`;
}

/** The same with spaces anywhere. */
export function anyTextPattern(max: number): string {
  return `^${VISIBLE}{1,${max}}$`;
}
