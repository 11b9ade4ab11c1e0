import { dirname } from 'node:path';
import { docComments, exportsOf, filesBelow, lineOf, read, sources } from './sources';

// The style that a linter does not see. A finding names its file: change that file. A new exception needs a reason.

const all = sources();
const productive = all.filter(({ isTest }) => !isTest);

const [LONGEST_FILE, LONGEST_TEST, LONGEST_LINE] = [400, 950, 180];

/** Longer files, each with the reason. */
const LONG_FILES: Readonly<Record<string, string>> = {
  'src/consumer/buffered-event-consumer.ts': 'half of it is the documentation of a public class, which has one file in jsii',
  'src/pipeline/event-driven-order-pipeline.ts': 'the same',
  'packages/local-run/src/eventbridge/pattern.ts': 'one engine: the operators of patterns and the walk over an event depend on each other',
};

test('files are short', () => {
  const long = all.filter(({ lines, isTest }) => lines.length > (isTest ? LONGEST_TEST : LONGEST_FILE));
  expect(long.filter(({ path }) => !(path in LONG_FILES)).map(({ path, lines }) => `${path} has ${lines.length} lines`)).toEqual([]);
  expect(Object.keys(LONG_FILES).filter((exception) => !long.some(({ path }) => path === exception))).toEqual([]);
});

test('lines are short, those with long texts too', () => {
  expect(all.flatMap(({ path, lines }) => lines.flatMap((line, index) => (
    line.length > LONGEST_LINE && !/https?:\S{60}/.test(line) ? [`${path}:${index + 1} has ${line.length} columns`] : [])))).toEqual([]);
});

/** Exports without a user in the repository, each with the reason. */
const KEPT_EXPORTS: Readonly<Record<string, string>> = {
  'packages/local-run/src/processes/guard.ts exports guardPid': 'a test of a whole run looks for the process of the guard',
};

test('an export has a user: another module, or the tests beside it', () => {
  // The names of jsii are public, and those of an index are for other packages.
  const dead = productive.filter(({ path }) => !path.startsWith('src/') && !path.endsWith('/index.ts')).flatMap((source) => {
    const users = all.filter(({ path, isTest }) => path !== source.path && (!isTest || dirname(path) === dirname(source.path)));
    const used = (name: string) => users.some(({ text }) => new RegExp(`\\b${name.replaceAll('$', '\\$')}\\b`).test(text));
    return exportsOf(source).filter((name) => !used(name)).map((name) => `${source.path} exports ${name}`);
  });
  expect(dead.filter((finding) => !(finding in KEPT_EXPORTS))).toEqual([]);
});

/** The first words of a comment that is only a part of a sentence, except those that are also the beginning of a whole one. */
const FRAGMENT = /^(What|Who|Whose|Whoever|Where|Why|Which|As|So|Of|By|For|To|With|Also|And|Or|But|Then|Else|How)\b/;
const WHOLE = /^(As an?|As the|For an?) /;

test('a doc comment stands alone: it begins with a noun or a verb, and has an end', () => {
  expect(productive.flatMap((source) => docComments(source).flatMap(({ line, first, whole }) => {
    const begins = WHOLE.test(first) || !FRAGMENT.test(first);
    const ends = /[.:?!)`]$/.test(first) || !/\s/.test(first) || whole.includes('@default');
    return begins && ends ? [] : [`${source.path}:${line} ${JSON.stringify(first.slice(0, 60))} has no ${begins ? 'end' : 'beginning'}`];
  }))).toEqual([]);
});

/** Words that a reader with ordinary English stumbles over, with those that say the same. */
const WORDS: readonly (readonly [RegExp, string])[] = [
  [/\bcan not\b/gi, 'cannot'],
  [/\b(whoever|whomever|lest|upon|albeit|as it were|of its own accord)\b/gi, 'a plain subject'],
  [/\b(is|are|was|were|be|been) told\b/gi, 'gets, is reported'],
  [/\b(does|do|will|would) not do\b(?! (it|that|this|so))/gi, 'is not enough'],
  [/\bwants? (a|an|the|to|no|its|both)\b/gi, 'expects, needs'],
  [/\bfor ever\b/gi, 'forever'],
  [/\bwithout a (word|trace)\b/gi, 'silently'],
  [/\bso many\b/gi, 'that number of'],
  [/\ball the same\b/gi, 'still, anyway'],
  [/\bbut for (what|the|its)\b/gi, 'except'],
];

test('words are ordinary', () => {
  const folders = ['docs', 'examples', 'starter', 'packages', 'reference-app', 'scripts', 'src', 'test'];
  const pages = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', ...folders.flatMap((folder) => filesBelow(folder, /\.(md|mjs|sql)$/))]
    // A numbered migration is never changed.
    .filter((path) => !/migrations\/.*\/\d{3}-[^/]*\.sql$/.test(path)).map(read);
  expect([...all, ...pages].filter(({ path }) => !path.startsWith('test/tidy/')).flatMap(({ path, text }) => (
    WORDS.flatMap(([word, better]) => [...text.matchAll(word)].map((match) => (
      `${path}:${lineOf(text, match.index)} "${match[0]}": better "${better}"`)))))).toEqual([]);
});
