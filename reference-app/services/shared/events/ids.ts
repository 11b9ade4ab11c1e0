import { v7 as uuidv7 } from 'uuid';

/** UUID version 7: grows with time, so that index pages are filled one after the other. */
export function newId(): string {
  return uuidv7();
}
