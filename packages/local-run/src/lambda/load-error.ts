import { realpathSync } from 'node:fs';
import { relative } from 'node:path';
import type { FunctionError } from './types.ts';

const SDK = /^(@aws-sdk|@smithy)\//;
const PYTHON_SDK = /^(boto3|botocore)$/;

/** Says why a function cannot be loaded, and what to do. `title` names the function; `python` is the program, if it is Python. */
export function loadError(title: string, error: FunctionError, code: string, python: string | undefined): string {
  const { errorType, errorMessage } = error;
  const at = location(error, realpathSync(code));
  const missing = /(?:Cannot find (?:module|package)|No module named) '([^']+)'/.exec(errorMessage)?.[1];
  if (missing !== undefined && python !== undefined && PYTHON_SDK.test(missing)) {
    return `${title} needs ${missing}, which the Python runtime of Lambda has (${at}): install it with ${python} -m pip install ${missing}.`;
  }
  if (missing !== undefined && python === undefined && SDK.test(missing)) {
    const name = missing.split('/').slice(0, 2).join('/');
    return `${title} needs ${name}, which the Node.js runtime of Lambda has (${at}): install it in your project with npm install -D ${name}.`;
  }
  const what = `${title} cannot be loaded: ${at}: ${errorType}: ${firstLine(errorMessage)}.`;
  if (missing !== undefined && /^[@\w]/.test(missing)) return `${what} Put ${missing} into the bundle of the code, or add the layer that has it.`;
  return `${what} Correct it and synthesize again; its messages wait until then.`;
}

/** Without the path of the file, which is said already. */
function firstLine(text: string): string {
  return text.split('\n', 1)[0]?.replace(/ imported from \S+$/, '').replace(/\.$/, '') ?? '';
}

/** The place in the code of the function, as `file:line`, or as good as it is known. */
function location({ errorMessage, stackTrace = [] }: FunctionError, code: string): string {
  const text = `${stackTrace.join('\n')}\n${errorMessage}`;
  const folder = code.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  // The frames of Node.js begin with the innermost, those of Python end with it.
  const [node] = [...text.matchAll(new RegExp(`(${folder}[^:'"\\n()]*):(\\d+)`, 'g'))];
  const python = [...text.matchAll(new RegExp(`"(${folder}[^"]*)", line (\\d+)`, 'g'))].at(-1);
  const found = node ?? python;
  if (found) return `${relative(code, found[1] ?? '')}:${found[2]} in ${code}`;
  const file = new RegExp(`${folder}/([^:'"\\n() ]+)`).exec(text)?.[1];
  return file === undefined ? code : `${file} in ${code}`;
}
