import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { sibling } from '../sibling.ts';
import { PYTHON_BOOTSTRAP } from './python-bootstrap.ts';

/** The program that runs the code of a function, and asks the Runtime API for its events. */
export interface Runtime {
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

/** The folders of a function. */
export interface Layout {
  /** Its code, `/var/task` in AWS. */
  readonly code: string;
  /** Its layers, `/opt` in AWS. */
  readonly layers: string | undefined;
  /** Folders with the packages that the Node.js runtime of Lambda brings itself. */
  readonly sdk: readonly string[];
  /** A folder for what this run writes itself. */
  readonly own: string;
}

/** Finds the program for a runtime such as `nodejs24.x`. `problem` says why this machine has none. */
export function findRuntime(runtime: string | undefined, layout: Layout): Runtime | { readonly problem: string } {
  if (runtime === undefined) return { problem: 'it is a container image, and the local run builds none' };
  const [, language = '', version = ''] = /^([a-z]+)([\d.]*)/.exec(runtime) ?? [];
  switch (language) {
    case 'nodejs':
      return nodejs(version, layout);
    case 'python':
      return python(version, layout);
    case 'provided':
      return provided(layout);
    default:
      return { problem: `its runtime is ${runtime}, and the local run has Node.js, Python and executables of this machine (provided.al2023)` };
  }
}

/** Folders of layers that are there. */
function inLayers({ layers }: Layout, ...paths: string[]): string[] {
  return layers === undefined ? [] : paths.map((path) => join(layers, path)).filter((path) => existsSync(path));
}

function shared(layout: Layout): Record<string, string> {
  const programs = inLayers(layout, 'bin');
  const libraries = inLayers(layout, 'lib');
  return {
    ...(programs.length > 0 && { PATH: [...programs, dirname(process.execPath), process.env.PATH].filter(Boolean).join(delimiter) }),
    ...(libraries.length > 0 && { LD_LIBRARY_PATH: [join(layout.code, 'lib'), ...libraries].join(delimiter) }),
  };
}

function nodejs(version: string, layout: Layout): Runtime {
  const packages = [...inLayers(layout, `nodejs/node${version.split('.')[0]}/node_modules`, 'nodejs/node_modules'), ...layout.sdk];
  return {
    command: ['node', '--disable-warning=ExperimentalWarning', sibling(import.meta.url, 'bootstrap')],
    environment: { ...shared(layout), NODE_PATH: packages.join(delimiter) },
  };
}

function python(version: string, layout: Layout): Runtime | { readonly problem: string } {
  const [major = 3, minor = 0] = version.split('.').map(Number);
  const fitting = installedPythons().filter((each) => each.major === major && each.minor >= minor);
  // Packages with compiled parts are made for one version.
  const found = fitting.find((each) => each.minor === minor) ?? fitting[0];
  if (!found) {
    const others = installedPythons().map((each) => `${each.major}.${each.minor}`);
    const there = others.length === 0 ? 'this machine has no python3' : `this machine has Python ${[...new Set(others)].join(' and ')}`;
    return { problem: `its runtime is python${version}, and ${there}: install Python ${version} or newer` };
  }
  const file = join(layout.own, 'bootstrap.py');
  mkdirSync(layout.own, { recursive: true });
  writeFileSync(file, PYTHON_BOOTSTRAP);
  return {
    command: [found.program, file],
    environment: {
      ...shared(layout),
      PYTHONPATH: inLayers(layout, 'python', `python/lib/python${version}/site-packages`).join(delimiter),
      PYTHONUNBUFFERED: '1',
      // The folder of the code belongs to the assembly.
      PYTHONDONTWRITEBYTECODE: '1',
    },
  };
}

interface Python {
  readonly program: string;
  readonly major: number;
  readonly minor: number;
}

let pythons: readonly Python[] | undefined;

/** The Pythons that `PATH` has, the usual one first. A shim may be there without what it starts. */
function installedPythons(): readonly Python[] {
  pythons ??= ['python3', ...[14, 13, 12, 11, 10, 9].map((minor) => `python3.${minor}`)].flatMap((name) => {
    const { status, stdout } = spawnSync(name, ['-c', 'import sys; print(sys.version_info[0], sys.version_info[1], sys.executable)'], { encoding: 'utf8' });
    const [, major, minor, program] = (status === 0 && /^(\d+) (\d+) (.+)$/m.exec(stdout)) || [];
    return program === undefined ? [] : [{ program, major: Number(major), minor: Number(minor) }];
  });
  return pythons;
}

function provided(layout: Layout): Runtime | { readonly problem: string } {
  const file = [join(layout.code, 'bootstrap'), ...inLayers(layout, 'bootstrap')].find((path) => existsSync(path));
  if (file === undefined) return { problem: 'neither its code nor a layer of it has a file bootstrap' };
  return { command: [file], environment: shared(layout) };
}
