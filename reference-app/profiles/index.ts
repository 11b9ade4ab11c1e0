import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Profile } from './profile.ts';

/** The folder of the profiles of the reference app. */
export const PROFILES = import.meta.dirname;

/** The profile of `npm start` and `cdk deploy` without another name. */
export const DEFAULT_PROFILE = 'order-pipeline';

export type Profiles = ReadonlyMap<string, Profile>;

/** Loads every profile of these folders, by name: each is a folder with a file `profile.ts`. The default profile is the first. */
export async function loadProfiles(folders: readonly string[] = [PROFILES]): Promise<Profiles> {
  const files = folders.flatMap((folder) => readdirSync(folder).sort().map((name) => [name, join(folder, name, 'profile.ts')] as const));
  const loaded = await Promise.all(files.filter(([, file]) => existsSync(file)).map(async ([name, file]) => {
    const { default: profile } = await import(pathToFileURL(file).href) as { default: Profile };
    return [name, profile] as const;
  }));
  return new Map(loaded.sort(([a], [b]) => Number(b === DEFAULT_PROFILE) - Number(a === DEFAULT_PROFILE)));
}
