import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Metafile } from 'esbuild';

/** A package whose code is in a bundle. */
export interface BundledPackage {
  readonly name: string;
  readonly version: string;
  /** The expression of its package.json, such as `MIT`. */
  readonly license: string;
  /** The name of its author; undefined if its package.json has none. */
  readonly author: string | undefined;
  /** The texts of its files LICENSE, NOTICE and COPYING. */
  readonly texts: readonly string[];
  /** SHA-512 of the archive that it was installed from, in hexadecimal digits. */
  readonly sha512: string;
  /** The code of this repository imports it. */
  readonly isDirect: boolean;
  /** The packages that its code in the bundle imports, as `name@version`. */
  readonly needs: readonly string[];
}

const LICENSE_FILE = /^(licen[cs]e|copying|notice)([-.].*)?$/i;

/**
 * Reads the packages of a bundle, sorted by name and version.
 *
 * @param root the folder that the paths of the metafile start from, one below the one with package-lock.json
 * @throws Error when a package has no licence, or is not in package-lock.json
 */
export async function bundledPackages({ inputs, outputs }: Metafile, root: string): Promise<BundledPackage[]> {
  const lock = JSON.parse(await readFile(join(root, '..', 'package-lock.json'), 'utf8')) as Lock;
  const used = new Set(Object.values(outputs).flatMap((output) => Object.keys(output.inputs)));
  /** A file that only passes on what others export is not in the bundle: it leads to those. */
  const usedImportsOf = (path: string, seen = new Set<string>()): string[] => (inputs[path]?.imports ?? []).flatMap((one) => {
    const imported = one.path;
    if (used.has(imported)) return [imported];
    if (seen.has(imported)) return [];
    seen.add(imported);
    return usedImportsOf(imported, seen);
  });
  const imports = new Map<string, Set<string>>();
  for (const path of used) {
    const folder = folderOf(path);
    const needs = imports.get(folder) ?? new Set();
    imports.set(folder, needs);
    for (const imported of usedImportsOf(path)) needs.add(folderOf(imported));
    needs.delete(folder);
  }
  const direct = imports.get(OWN) ?? new Set();
  imports.delete(OWN);
  const folders = [...imports.keys()];
  const manifests = new Map(await Promise.all(folders.map(async (folder) => [folder, await readManifest(join(root, folder))] as const)));
  const idOf = (folder: string) => identify(manifests.get(folder)!);
  const packages = await Promise.all([...imports].map(async ([folder, needs]): Promise<BundledPackage> => {
    const { name, version, license, author } = manifests.get(folder)!;
    if (!license) throw new Error(`The package ${name} ${version} is part of a bundle and has no licence in its package.json: use another package.`);
    const { integrity } = lock.packages[folder.replace(/^\.\.\//, '')] ?? {};
    if (!integrity?.startsWith('sha512-')) throw new Error(`The package ${name} ${version} of a bundle is not in package-lock.json: run npm install.`);
    const sha512 = Buffer.from(integrity.slice('sha512-'.length), 'base64').toString('hex');
    return {
      name,
      version,
      license,
      sha512,
      author: (typeof author === 'object' ? author.name : author)?.replace(/\s*[<(].*/, ''),
      texts: await readTexts(join(root, folder)),
      isDirect: direct.has(folder),
      needs: [...needs].map(idOf).sort(),
    };
  }));
  return uniqueBy(identify, packages).sort((a, b) => (identify(a) < identify(b) ? -1 : 1));
}

/** The licences of the packages, each text once with the packages that have it. */
export function thirdPartyNotices(packages: readonly BundledPackage[]): string {
  const byText = Map.groupBy(packages, ({ texts, license, author }) => texts.join('\n\n')
    || `Its package has no file with a licence, and names ${license}${author === undefined ? '' : ` and the author ${author}`}.`);
  const parts = [...byText].map(([text, group]) => [...group.map(({ name, version, license }) => `${name} ${version} (${license})`), '', text].join('\n'));
  return ['The programs beside this file contain code of these packages.', ...parts].join(`\n\n${'-'.repeat(80)}\n`) + '\n';
}

/**
 * The list of the packages in the format CycloneDX. It has neither a time nor a random number: the same packages give the same bytes.
 *
 * @see https://cyclonedx.org/docs/1.6/json/
 */
export function billOfMaterials(image: string, packages: readonly BundledPackage[]): string {
  const roots = packages.filter(({ isDirect }) => isDirect).map(identify);
  return JSON.stringify({
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: { lifecycles: [{ phase: 'build' }], component: { 'type': 'application', 'bom-ref': image, 'name': image } },
    components: packages.map((bundled) => {
      const [, group, name] = /^(?:(@[^/]+)\/)?(.+)$/.exec(bundled.name)!;
      return {
        'type': 'library',
        'bom-ref': identify(bundled),
        ...(group !== undefined && { group }),
        name,
        'version': bundled.version,
        'scope': 'required',
        'licenses': [/[ (]/.test(bundled.license) ? { expression: bundled.license } : { license: { id: bundled.license } }],
        'purl': `pkg:npm/${bundled.name.replace('@', '%40')}@${bundled.version}`,
        'hashes': [{ alg: 'SHA-512', content: bundled.sha512 }],
      };
    }),
    dependencies: [{ ref: image, dependsOn: roots }, ...packages.map((bundled) => ({ ref: identify(bundled), dependsOn: bundled.needs }))],
  }, undefined, 2) + '\n';
}

interface Lock { readonly packages: Readonly<Record<string, { readonly integrity?: string }>> }
interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license?: string;
  readonly author?: string | { readonly name: string };
}

const identify = ({ name, version }: Pick<Manifest, 'name' | 'version'>) => `${name}@${version}`;

/** The place of the files of this repository, instead of the folder of a package. */
const OWN = '';

/** The folder of the package that a file belongs to. */
function folderOf(path: string): string {
  return /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0] ?? OWN;
}

async function readManifest(folder: string): Promise<Manifest> {
  return JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as Manifest;
}

async function readTexts(folder: string): Promise<string[]> {
  const files = (await readdir(folder, { withFileTypes: true })).filter((entry) => entry.isFile() && LICENSE_FILE.test(entry.name));
  const texts = await Promise.all(files.map(({ name }) => name).sort().map((name) => readFile(join(folder, name), 'utf8')));
  return texts.map((text) => text.replaceAll('\r\n', '\n').trim());
}

function uniqueBy<T>(key: (item: T) => string, items: readonly T[]): T[] {
  return [...new Map(items.map((item) => [key(item), item])).values()];
}
