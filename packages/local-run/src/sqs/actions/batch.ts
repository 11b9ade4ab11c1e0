import { AwsError } from '../../http/aws-error.ts';
import type { Input } from '../../http/aws-json.ts';
import { missing, SqsError } from '../errors.ts';
import { list, structure, text } from '../input.ts';
import type { Output } from './action.ts';

const MOST_ENTRIES = 10;
const MOST_BYTES = 1_048_576;

/**
 * Does something for each entry of a batch; what fails for one entry is reported with its id, and the others go on.
 *
 * @throws SqsError if the batch as a whole is wrong
 */
export function batch(
  input: Input, member: string, act: (entry: Input) => Readonly<Record<string, unknown>>, sizeOf?: (entry: Input) => number,
): Output {
  const entries = list(input, 'Entries').map((entry) => structure(entry, 'Entries'));
  checkEntries(entries, member);
  if (sizeOf) checkSize(entries.reduce((sum, entry) => sum + sizeOf(entry), 0));
  const Successful: object[] = [];
  const Failed: object[] = [];
  for (const entry of entries) {
    const { Id } = entry;
    try {
      Successful.push({ Id, ...act(entry) });
    } catch (error) {
      if (!(error instanceof AwsError)) throw error;
      const Code = error instanceof SqsError ? error.queryCode : error.name;
      Failed.push({ Id, SenderFault: error.status < 500, Code, Message: error.message });
    }
  }
  return { result: { Successful, Failed } };
}

function checkEntries(entries: readonly Input[], member: string): void {
  if (entries.length === 0) throw new SqsError('EmptyBatchRequest', `There should be at least one ${member} in the request.`);
  if (entries.length > MOST_ENTRIES) {
    throw new SqsError('TooManyEntriesInBatchRequest', `Maximum number of entries per request are ${MOST_ENTRIES}. You have sent ${entries.length}.`);
  }
  const ids = new Set<string>();
  for (const [index, entry] of entries.entries()) {
    const id = text(entry, 'Id');
    if (id === undefined) throw missing(`${member}.${index + 1}.Id`);
    if (!/^[A-Za-z0-9_-]{1,80}$/.test(id)) {
      throw new SqsError('InvalidBatchEntryId', 'A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.');
    }
    if (ids.has(id)) throw new SqsError('BatchEntryIdsNotDistinct', `Id ${id} repeated.`);
    ids.add(id);
  }
}

function checkSize(size: number): void {
  if (size > MOST_BYTES) throw new SqsError('BatchRequestTooLong', `Batch requests cannot be longer than ${MOST_BYTES} bytes. You have sent ${size} bytes.`);
}
