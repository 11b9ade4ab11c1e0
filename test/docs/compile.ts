import { join } from 'node:path';
import * as ts from 'typescript';
import { root, text } from './markdown';

const FIXTURE = 'rosetta/default.ts-fixture';
const HERE = '/// here';

interface Block {
  readonly page: string;
  readonly line: number;
  readonly code: string;
}

/** A file that isn't on the disk, and where each of its lines stands in a page. */
interface Source {
  readonly text: string;
  readonly page: string;
  readonly lines: (number | undefined)[];
}

export interface Compiled {
  /** As `page:line: message`. */
  readonly errors: string[];
  readonly blocks: number;
  /** The classes of the library that are constructs. */
  readonly constructs: string[];
}

/**
 * Compiles every `ts` block of the pages, all in one program: those with imports as they are, the others within the fixture of the
 * examples of the API, as rosetta does. The blocks of a page in `together` are one file.
 */
export function compile(pages: string[], together: string[]): Compiled {
  const sources = new Map<string, Source>();
  for (const page of pages) {
    const blocks = blocksOf(page);
    const files = together.includes(page)
      ? [joined(blocks)]
      : blocks.map((block) => /^import /m.test(block.code) ? joined([block]) : withFixture(block));
    // In test/, where the settings of the tests hold.
    files.forEach((source, index) => {
      // The local run is an ES module, and so is what imports its types.
      const extension = source.text.includes('from \'cdk-local-run\'') ? 'mts' : 'ts';
      sources.set(join(root, 'test/docs', `${page.replace(/\W/g, '-')}-${index + 1}.${extension}`), source);
    });
  }
  const { config } = ts.readConfigFile(join(root, 'tsconfig.dev.json'), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
  Object.assign(options, { noUnusedLocals: false, noUnusedParameters: false, paths: { 'cdk-order-pipeline': [join(root, 'src/index.ts')] } });
  const host = ts.createCompilerHost(options);
  const { fileExists, getSourceFile } = host;
  host.fileExists = (file) => sources.has(file) || fileExists(file);
  host.getSourceFile = (file, ...rest) => sources.has(file)
    ? ts.createSourceFile(file, sources.get(file)!.text, rest[0], true)
    : getSourceFile(file, ...rest);
  const library = join(root, 'src/index.ts');
  const program = ts.createProgram([library, ...sources.keys()], options, host);
  const errors = [...sources].flatMap(([file, source]) => {
    const parsed = program.getSourceFile(file)!;
    return [...program.getSyntacticDiagnostics(parsed), ...program.getSemanticDiagnostics(parsed)].map((diagnostic) => {
      const line = source.lines[parsed.getLineAndCharacterOfPosition(diagnostic.start!).line];
      return `${source.page}:${line ?? FIXTURE}: ${ts.flattenDiagnosticMessageText(diagnostic.messageText, '\n')}`;
    });
  });
  return { errors, blocks: sources.size, constructs: constructsOf(program, library) };
}

function blocksOf(page: string): Block[] {
  const markdown = text(page);
  return [...markdown.matchAll(/^```ts\b[^\n]*\n(.*?)^```$/gms)].map((match) => ({
    page, code: match[1]!, line: markdown.slice(0, match.index).split('\n').length + 1,
  }));
}

function joined(blocks: Block[]): Source {
  const lines = blocks.flatMap(({ code, line }) => code.split('\n').map((of, index) => ({ of, line: line + index })));
  return { page: blocks[0]!.page, text: lines.map(({ of }) => of).join('\n'), lines: lines.map(({ line }) => line) };
}

/** `declare` stands only outside of the class. */
function withFixture(block: Block): Source {
  const lines = block.code.split('\n').map((of, index) => ({ of, line: block.line + index }));
  const isDeclared = ({ of }: { of: string }) => of.startsWith('declare ');
  const [before, after] = text(FIXTURE).split(HERE).map((part) => part.split('\n').map((of) => ({ of, line: undefined })));
  const all = [...before!, ...lines.filter((line) => !isDeclared(line)), ...after!, ...lines.filter(isDeclared)];
  return { page: block.page, text: all.map(({ of }) => of).join('\n'), lines: all.map(({ line }) => line) };
}

function constructsOf(program: ts.Program, library: string): string[] {
  const checker = program.getTypeChecker();
  const isConstruct = (type: ts.Type): boolean => type.symbol?.name === 'Construct' || (type.getBaseTypes() ?? []).some(isConstruct);
  const declared = (symbol: ts.Symbol) => symbol.declarations?.some(ts.isExportSpecifier) ? checker.getAliasedSymbol(symbol) : symbol;
  return checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(library)!)!)
    .map(declared)
    .filter((symbol) => symbol.declarations?.some(ts.isClassDeclaration) && isConstruct(checker.getDeclaredTypeOfSymbol(symbol)))
    .map(({ name }) => name);
}
