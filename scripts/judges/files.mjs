// The files that the judges look at: the templates and manifests of all apps of the repository, its Dockerfiles and its workflows.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { evaluator } from '../../test/kubernetes/template.mjs';
import { readJson, root, run } from '../lib/user-project.mjs';

const MANIFEST = 'Custom::AWSCDK-EKS-KubernetesResource';

/** Synthesizes the apps into a folder. @returns the paths of the files of each kind */
export async function filesToJudge(folder) {
  const assemblies = join(folder, 'assemblies');
  mkdirSync(assemblies);
  await run(process.execPath, [join(root, 'test', 'kubernetes', 'assemblies.mjs'), assemblies], { cwd: root, env: process.env });
  const templates = readdirSync(assemblies, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.template.json')).map((file) => join(assemblies, file)).sort();
  const tracked = execFileSync('git', ['ls-files', '-z'], { cwd: root, encoding: 'utf8' }).split('\0').filter(Boolean);
  const own = (name) => tracked.filter((file) => name.test(file)).map((file) => join(root, file));
  return {
    templates,
    manifests: writeManifests(templates, join(folder, 'manifests')),
    dockerfiles: own(/(^|\/)Dockerfile$/),
    workflows: own(/^\.github\/workflows\/[^/]+\.ya?ml$/),
  };
}

/** Writes the objects of each template into a file, as its custom resources apply them. */
function writeManifests(templates, folder) {
  mkdirSync(folder);
  return templates.flatMap((file) => {
    const template = readJson(file);
    const value = evaluator(template);
    const manifests = Object.values(template.Resources ?? {}).filter(({ Type }) => Type === MANIFEST);
    const objects = manifests.flatMap(({ Properties }) => JSON.parse(value(Properties.Manifest)));
    if (objects.length === 0) { return []; }
    const path = join(folder, basename(join(file, '..')), `${basename(file, '.template.json')}.yaml`);
    mkdirSync(join(path, '..'), { recursive: true });
    // JSON is YAML.
    writeFileSync(path, objects.map((object) => `---\n${JSON.stringify(object, undefined, 2)}\n`).join(''));
    return [path];
  });
}
