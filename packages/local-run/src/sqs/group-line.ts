import type { Line } from './line.ts';
import type { Message } from './message.ts';

interface Group {
  readonly id: string;
  /** In the order of their sequence numbers. */
  messages: Message[];
  inFlight: number;
}

/**
 * The line of a FIFO queue. A receive takes what there is of a group, as in AWS, so that a consumer that goes on after a failure within a
 * batch breaks the order of its group here too. Until all that was taken of a group is deleted or back in its place, nothing of it is given
 * out.
 */
export class GroupLine implements Line {
  readonly #groups = new Map<string, Group>();
  /** Those with messages and with none in flight, the one that waits longest first. */
  readonly #open = new Set<Group>();
  #size = 0;
  #available = 0;

  get size(): number {
    return this.#size;
  }

  get available(): number {
    return this.#available;
  }

  add(message: Message): void {
    const group = this.#group(message);
    insertInOrder(group.messages, message);
    this.#size++;
    if (group.inFlight > 0) return;
    this.#open.add(group);
    this.#available++;
  }

  take(most: number, accept: (message: Message) => boolean): Message[] {
    const taken: Message[] = [];
    for (const group of this.#open) {
      if (taken.length >= most) break;
      this.#takeOf(group, most, accept, taken);
    }
    return taken;
  }

  #takeOf(group: Group, most: number, accept: (message: Message) => boolean, taken: Message[]): void {
    let count = 0;
    for (; count < group.messages.length && taken.length < most; count++) {
      const message = group.messages[count]!;
      if (!accept(message)) continue;
      taken.push(message);
      group.inFlight++;
    }
    group.messages.splice(0, count);
    this.#size -= count;
    this.#available -= count;
    if (group.inFlight > 0) {
      this.#open.delete(group);
      this.#available -= group.messages.length;
    } else {
      this.#forgetIfEmpty(group);
    }
  }

  first(): Message | undefined {
    for (const { messages } of this.#open) return messages[0];
    return undefined;
  }

  remove(message: Message): void {
    const group = this.#group(message);
    const index = group.messages.indexOf(message);
    if (index < 0) return;
    group.messages.splice(index, 1);
    this.#size--;
    if (group.inFlight === 0) this.#available--;
    this.#forgetIfEmpty(group);
  }

  released(message: Message): void {
    const group = this.#group(message);
    group.inFlight = Math.max(0, group.inFlight - 1);
    if (group.inFlight > 0) return;
    if (group.messages.length > 0) {
      this.#open.add(group);
      this.#available += group.messages.length;
    }
    this.#forgetIfEmpty(group);
  }

  /** A message that was in flight before a restart is so again. */
  hold(message: Message): void {
    const group = this.#group(message);
    if (group.inFlight++ > 0) return;
    if (this.#open.delete(group)) this.#available -= group.messages.length;
  }

  clear(): void {
    this.#groups.clear();
    this.#open.clear();
    this.#size = 0;
    this.#available = 0;
  }

  * messages(): Generator<Message, void> {
    for (const { messages } of this.#groups.values()) yield* messages;
  }

  #group({ messageGroupId: id = '' }: Message): Group {
    let group = this.#groups.get(id);
    if (!group) this.#groups.set(id, group = { id, messages: [], inFlight: 0 });
    return group;
  }

  #forgetIfEmpty(group: Group): void {
    if (group.messages.length > 0 || group.inFlight > 0) return;
    this.#open.delete(group);
    this.#groups.delete(group.id);
  }
}

/** New messages stand at the end, and those that come back near the beginning. */
function insertInOrder(messages: Message[], message: Message): void {
  const { sequenceNumber = '' } = message;
  const last = messages.at(-1);
  if (!last || (last.sequenceNumber ?? '') < sequenceNumber) {
    messages.push(message);
    return;
  }
  const at = messages.findIndex((other) => (other.sequenceNumber ?? '') > sequenceNumber);
  messages.splice(at < 0 ? messages.length : at, 0, message);
}
