import { chmodSync, existsSync, mkdirSync, readFileSync, realpathSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, isAbsolute, join, normalize, posix, sep } from 'node:path';
import { unzipSync } from 'fflate';
import { LocalRunError, messageOf } from '../errors.ts';

const LINK = 0o120000;
const KIND = 0o170000;

/** Unpacks an archive into a folder, once. Nothing of it gets outside of the folder. */
export function unpackOnce(archive: string, folder: string): string {
  if (existsSync(folder)) return folder;
  const draft = `${folder}.new`;
  rmSync(draft, { recursive: true, force: true });
  mkdirSync(draft, { recursive: true });
  try {
    unpack(archive, realpathSync(draft));
  } catch (error) {
    rmSync(draft, { recursive: true, force: true });
    throw new LocalRunError(`${archive} cannot be unpacked: ${messageOf(error)}. Make the archive again.`);
  }
  renameSync(draft, folder);
  return folder;
}

function unpack(archive: string, folder: string): void {
  const bytes = readFileSync(archive);
  const modes = modesOf(bytes);
  const entries = Object.entries(unzipSync(bytes));
  const isLink = (name: string) => ((modes.get(name) ?? 0) & KIND) === LINK;
  const names = new Set(entries.filter(([name]) => isLink(name)).map(([name]) => posix.normalize(name)));
  for (const [name] of entries) checkName(name, names);
  for (const [name, content] of entries) {
    if (isLink(name)) continue;
    const path = join(folder, name);
    mkdirSync(name.endsWith('/') ? path : dirname(path), { recursive: true });
    if (name.endsWith('/')) continue;
    writeFileSync(path, content);
    chmodSync(path, ((modes.get(name) ?? 0) & 0o777) | 0o600);
  }
  const links = entries.filter(([name]) => isLink(name));
  for (const [name, content] of links) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    symlinkSync(new TextDecoder().decode(content), join(folder, name));
  }
  for (const [name, content] of links) checkLink(folder, name, new TextDecoder().decode(content));
}

function checkName(name: string, links: ReadonlySet<string>): void {
  const isThroughLink = posix.normalize(name).split('/').some((_, depth, parts) => depth > 0 && links.has(parts.slice(0, depth).join('/')));
  if (isThroughLink || isAbsolute(name) || /^[a-z]:/i.test(name) || name.includes('\\') || name.split('/').includes('..')) {
    throw new Error(`the entry ${name} is outside of the folder that it is unpacked into`);
  }
}

function checkLink(folder: string, name: string, target: string): void {
  const path = join(folder, name);
  const stated = normalize(join(dirname(path), target));
  // Only the system follows a link within a link as it will be followed later.
  const real = existsSync(path) ? realpathSync.native(path) : stated;
  const outside = [stated, real].some((end) => end !== folder && !end.startsWith(folder + sep));
  if (outside || isAbsolute(target)) {
    throw new Error(`the link ${name} leads to ${target}, outside of the folder that it is unpacked into`);
  }
}

/** The modes that the directory of an archive has for its entries; those made on Unix have them. */
function modesOf(bytes: Buffer): ReadonlyMap<string, number> {
  const modes = new Map<string, number>();
  const end = bytes.lastIndexOf('PK\x05\x06', undefined, 'latin1');
  if (end < 0) throw new Error('it is no zip archive');
  let at = bytes.readUInt32LE(end + 16);
  for (let entry = bytes.readUInt16LE(end + 10); entry > 0; entry--) {
    const [name, extra, comment] = [bytes.readUInt16LE(at + 28), bytes.readUInt16LE(at + 30), bytes.readUInt16LE(at + 32)];
    modes.set(bytes.toString('utf8', at + 46, at + 46 + name), bytes.readUInt32LE(at + 38) >>> 16);
    at += 46 + name + extra + comment;
  }
  return modes;
}
