import { builtinModules } from 'node:module';

export interface DocumentedProgram {
  /** Where it begins in the document. */
  readonly line: number;
  readonly code: string;
}

/** The TypeScript blocks of a Markdown document that are whole programs: the ones that import something. */
export function programsOf(markdown: string): DocumentedProgram[] {
  return [...markdown.matchAll(/^```(?:ts|typescript)\b.*\n([^]*?)^```/gm)]
    .map(({ index, 1: code }) => ({ line: markdown.slice(0, index).split('\n').length + 1, code }))
    .filter(({ code }) => importsOf(code).length > 0);
}

/** The packages that a program imports, each once, without those of Node. */
export function importsOf(code: string): string[] {
  const modules = [...code.matchAll(/^\s*(?:import|export)\b(?:[^'"=;]*\bfrom)?\s*['"]([^'".][^'"]*)['"]/gm)].map(([, name]) => name);
  const packages = modules.filter(name => !name.startsWith('node:') && !builtinModules.includes(name))
    .map(name => name.split('/').slice(0, name.startsWith('@') ? 2 : 1).join('/'));
  return [...new Set(packages)].sort();
}

/** The packages that a document tells to install, each once. */
export function installedBy(markdown: string): string[] {
  const lists = [...markdown.matchAll(/\bnpm (?:install|i) ([^`\n#&|;]+)/g)].map(([, packages]) => packages.split(/\s+/));
  return [...new Set(lists.flat().filter(name => /^(@[\w.-]+\/)?[a-z][\w.-]*/.test(name)).map(name => name.replace(/(?<=.)@.*/, '')))].sort();
}
