/**
 * The quick way through a file in which nothing is unusual: values and the few offsets that objects
 * carry, from js-yaml's events.
 *
 * `yaml` gives every diagnostic its position, and takes four times as long over a large state as all the
 * rest of `ztap validate`; js-yaml takes a fifth of it. The gate (gate.ts) lets only such text through as has one
 * meaning to every reader; beyond it this reader gives up (undefined) at whatever is unusual in a value:
 * numbers in any form but the plainest, words that YAML 1.1 reads as booleans, duplicate or unusual keys. What it gives up on goes
 * through `yaml`, which says what is wrong and where. A fuzzer holds them all to the same values.
 */
import { EVENT_ID, SCALAR_STYLE, getScalarValue, parseEvents, type Event, type ScalarEvent } from "js-yaml";
import { isUndoubted } from "./gate.js";
import type { Path } from "../problem.js";
import { BOOLEAN_WORDS } from "./boolean-words.js";

const DEPTH_LIMIT = 64;

export interface FastDocument {
  readonly value: unknown;
  readonly hasNulls: boolean;
  /** Of the first key. */
  readonly offset: number;
  /** Of the items of the lists whose lines objects carry (rules, and the items of a List), or of all lists. */
  readonly itemOffsets: ReadonlyMap<unknown, readonly number[]>;
  /** Of the keys and values of each mapping; empty unless they were asked for. */
  readonly fieldOffsets: ReadonlyMap<unknown, ReadonlyMap<string, FieldOffset>>;
}

interface FieldOffset {
  readonly key: number;
  readonly value: number;
}

const LISTS_WITH_OFFSETS = new Set(["ingress", "egress", "items"]);

/** Documents that hold nothing are left out. `allOffsets` costs memory, and is for `plainOffsetOf`. */
export function readFast(text: string, allOffsets = false): readonly FastDocument[] | undefined {
  if (!isUndoubted(text)) return undefined;
  let events: Event[];
  try {
    events = parseEvents(text, { maxDepth: DEPTH_LIMIT });
  } catch {
    // Whatever is wrong, `yaml` reads it again and says it with its position.
    return undefined;
  }
  return new FastReader(text, events, allOffsets).readAll();
}

/** As `offsetOf` of yaml.ts: the field, or where it is missing the key of the last one that is there. */
export function fastOffsetOf(document: FastDocument, path: Path, anchor: "key" | "value"): number {
  let value = document.value;
  let at: FieldOffset = { key: document.offset, value: document.offset };
  for (const step of path) {
    const item = typeof step === "number" ? document.itemOffsets.get(value)?.[step] : undefined;
    const field = typeof step === "string" ? document.fieldOffsets.get(value)?.get(step) : undefined;
    const next = item === undefined ? field : { key: item, value: item };
    if (next === undefined) return at.key;
    at = next;
    value = Array.isArray(value) ? value[Number(step)] : isMapping(value) ? value[step] : undefined;
  }
  return at[anchor];
}

const isMapping = (value: unknown): value is Readonly<Record<string, unknown>> =>
  value !== null && typeof value === "object" && !Array.isArray(value);

/** Thrown and caught in this module only: the plainest way out of a recursion. */
const UNUSUAL = new Error("This reader does not take the file.");

class FastReader {
  #at = 0;
  #hasNulls = false;
  #itemOffsets = new Map<unknown, readonly number[]>();
  #fieldOffsets = new Map<unknown, ReadonlyMap<string, FieldOffset>>();

  constructor(
    readonly text: string,
    readonly events: readonly Event[],
    readonly allOffsets: boolean,
  ) {}

  readAll(): readonly FastDocument[] | undefined {
    const documents: FastDocument[] = [];
    try {
      while (this.#at < this.events.length) {
        const document = this.#readDocument();
        if (document.value !== null) documents.push(document);
      }
    } catch (error) {
      if (error === UNUSUAL) return undefined;
      throw error;
    }
    return documents;
  }

  #next(): Event {
    const event = this.events[this.#at];
    if (event === undefined) throw UNUSUAL;
    this.#at += 1;
    return event;
  }

  #readDocument(): FastDocument {
    const event = this.#next();
    if (event.type !== EVENT_ID.DOCUMENT || event.directives.length > 0) throw UNUSUAL;
    this.#hasNulls = false;
    this.#itemOffsets = new Map();
    this.#fieldOffsets = new Map();
    const first = this.#next();
    const value = this.#read(first, undefined);
    if (this.#next().type !== EVENT_ID.POP) throw UNUSUAL;
    const offset = value === null ? 0 : startOf(first);
    return {
      value,
      hasNulls: this.#hasNulls,
      offset,
      itemOffsets: this.#itemOffsets,
      fieldOffsets: this.#fieldOffsets,
    };
  }

  #read(event: Event, key: string | undefined): unknown {
    switch (event.type) {
      case EVENT_ID.SCALAR:
        return this.#readScalar(event);
      case EVENT_ID.MAPPING:
        if (event.anchorStart >= 0 || event.tagStart >= 0) throw UNUSUAL;
        return this.#readMapping();
      case EVENT_ID.SEQUENCE:
        if (event.anchorStart >= 0 || event.tagStart >= 0) throw UNUSUAL;
        return this.#readSequence(key);
      case EVENT_ID.ALIAS:
      case EVENT_ID.DOCUMENT:
      case EVENT_ID.POP:
        throw UNUSUAL;
    }
  }

  #readMapping(): Record<string, unknown> {
    const mapping: Record<string, unknown> = {};
    const offsets = this.allOffsets ? new Map<string, FieldOffset>() : undefined;
    for (let event = this.#next(); event.type !== EVENT_ID.POP; event = this.#next()) {
      if (event.type !== EVENT_ID.SCALAR) throw UNUSUAL;
      const key = this.#readScalar(event);
      if (typeof key !== "string" || key === "__proto__" || Object.hasOwn(mapping, key)) throw UNUSUAL;
      const value = this.#next();
      const start = startOf(event);
      offsets?.set(key, { key: start, value: isEmpty(value) ? start : startOf(value) });
      mapping[key] = this.#read(value, key);
    }
    if (offsets !== undefined) this.#fieldOffsets.set(mapping, offsets);
    return mapping;
  }

  #readSequence(key: string | undefined): unknown[] {
    const sequence: unknown[] = [];
    const wanted = this.allOffsets || (key !== undefined && LISTS_WITH_OFFSETS.has(key));
    const offsets: number[] | undefined = wanted ? [] : undefined;
    for (let event = this.#next(); event.type !== EVENT_ID.POP; event = this.#next()) {
      offsets?.push(startOf(event));
      sequence.push(this.#read(event, undefined));
    }
    if (offsets !== undefined) this.#itemOffsets.set(sequence, offsets);
    return sequence;
  }

  #readScalar(event: ScalarEvent): unknown {
    if (event.anchorStart >= 0 || event.tagStart >= 0) throw UNUSUAL;
    const { style } = event;
    if (style === SCALAR_STYLE.SINGLE_QUOTED || style === SCALAR_STYLE.DOUBLE_QUOTED) {
      return event.fast ? this.text.slice(event.valueStart, event.valueEnd) : getScalarValue(this.text, event);
    }
    if (style !== SCALAR_STYLE.PLAIN) throw UNUSUAL;
    if (event.valueStart < 0) return this.#null();
    if (!event.fast) throw UNUSUAL;
    return this.#readPlainScalar(this.text.slice(event.valueStart, event.valueEnd));
  }

  /** YAML 1.2's core schema, as far as there is no doubt. */
  #readPlainScalar(source: string): unknown {
    if (PLAIN_TEXT.test(source)) return this.#readWord(source);
    if (/^(0|[1-9]\d{0,8})$/.test(source)) return Number(source);
    // No address is longer; a pattern with two repetitions would take too long over what is.
    if (source.length <= 49 && ADDRESS_LIKE.test(source)) return source;
    throw UNUSUAL;
  }

  #readWord(source: string): unknown {
    if (BOOLEAN_WORDS.has(source)) throw UNUSUAL;
    if (!WORDS.has(source)) return source;
    const word = source.toLowerCase();
    return word === "null" ? this.#null() : word === "true";
  }

  #null(): null {
    this.#hasNulls = true;
    return null;
  }
}

/** Begins with a letter or a slash, so it is no number in any reading. */
const PLAIN_TEXT = /^[A-Za-z/][\x20-\x7e]*$/;
const WORDS = new Set(["null", "Null", "NULL", "true", "True", "TRUE", "false", "False", "FALSE"]);
/** Addresses and CIDRs: neither four numbers with dots nor anything with two colons is a number of YAML's core schema. */
const ADDRESS_LIKE = /^(\d{1,3}(\.\d{1,3}){3}|[\da-fA-F][\da-fA-F:]*::[\da-fA-F:]*)(\/\d{1,3})?$/;

const isEmpty = (event: Event): boolean => event.type === EVENT_ID.SCALAR && event.valueStart < 0;

function startOf(event: Event): number {
  if (event.type === EVENT_ID.MAPPING || event.type === EVENT_ID.SEQUENCE) return event.start;
  if (event.type !== EVENT_ID.SCALAR || event.valueStart < 0) throw UNUSUAL;
  // js-yaml points behind the quote, `yaml` at it.
  return event.style === SCALAR_STYLE.PLAIN ? event.valueStart : event.valueStart - 1;
}
