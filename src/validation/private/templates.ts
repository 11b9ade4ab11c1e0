import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** A value in a template: intrinsic functions are objects. */
export type Value = string | number | boolean | null | undefined | Value[] | { [key: string]: Value };

/** A resource of a template. */
export interface TemplateResource {
  readonly logicalId: string;
  readonly type: string;
  readonly properties: Value;
  /** The template that has it. */
  readonly template: Template;
}

export interface Template {
  readonly path: string;
  readonly resources: TemplateResource[];
}

/** Reads the templates of stacks, and those of their nested stacks, which a stack lists among its assets. */
export function readTemplates(paths: string[]): Template[] {
  const nested = paths.flatMap((path) => {
    const assets = path.replace(/\.template\.json$/, '.assets.json');
    if (assets === path || !existsSync(assets)) { return []; }
    const { files = {} } = JSON.parse(readFileSync(assets, 'utf8')) as { files?: { [id: string]: { source?: { path?: string } } } };
    return Object.values(files).flatMap(({ source }) => (
      source?.path?.endsWith('.nested.template.json') ? [join(dirname(path), source.path)] : []));
  });
  return [...new Set([...paths, ...nested])].map(readTemplate);
}

function readTemplate(path: string): Template {
  const { Resources = {} } = JSON.parse(readFileSync(path, 'utf8')) as { Resources?: { [id: string]: { Type: string; Properties?: Value } } };
  const template: Template = { path, resources: [] };
  template.resources.push(...Object.entries(Resources)
    .map(([logicalId, { Type, Properties }]) => ({ logicalId, type: Type, properties: Properties, template })));
  return template;
}

/** The value of a property; of any level that is missing or an intrinsic function, it is undefined. Names may begin with a small letter. */
export function valueAt(value: Value, ...path: string[]): Value {
  return path.reduce<Value>((parent, name) => {
    if (typeof parent !== 'object' || parent === null || Array.isArray(parent)) { return undefined; }
    return parent[name] ?? parent[name.charAt(0).toLowerCase() + name.slice(1)];
  }, value);
}

/** The items of a list. A value that is no list has none. */
export function itemsAt(value: Value, ...path: string[]): Value[] {
  const list = valueAt(value, ...path);
  return Array.isArray(list) ? list : [];
}

/** Whether a value refers to a resource of its own template. */
export function refersTo(value: Value, { logicalId }: TemplateResource): boolean {
  const text = JSON.stringify(value) ?? '';
  return text.includes(`{"Ref":"${logicalId}"}`) || text.includes(`"Fn::GetAtt":["${logicalId}",`) || text.includes(`\${${logicalId}`);
}
