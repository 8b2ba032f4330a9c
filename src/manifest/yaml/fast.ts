/**
 * The fast reader for ordinary files: returns values and the few offsets that objects carry, from js-yaml's events.
 *
 * `yaml` gives every diagnostic its position, but takes four times as long over a large state as all the rest of `ztap
 * validate`; js-yaml takes a fifth of it. The gate (gate.ts) accepts only text that has one meaning to every parser. On
 * accepted text this reader still gives up (undefined) at every unusual value: numbers in any form but the plainest,
 * words that YAML 1.1 reads as booleans, duplicate or unusual keys. Such text goes through `yaml`, which reports the
 * problem and its position. A fuzzer checks that all of them read the same values.
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
  /** Of the items of each list. */
  readonly itemOffsets: ReadonlyMap<unknown, readonly number[]>;
  /** Offsets of the keys and values of a mapping of this document; computed on first use. */
  readonly fieldsOf: (mapping: unknown) => ReadonlyMap<string, FieldOffset>;
}

interface FieldOffset {
  readonly key: number;
  readonly value: number;
}

/**
 * Reads the documents; those without content are left out.
 * @returns undefined for text that this reader does not accept
 */
export function readFast(text: string): readonly FastDocument[] | undefined {
  if (!isUndoubted(text)) return undefined;
  let events: Event[];
  try {
    events = parseEvents(text, { maxDepth: DEPTH_LIMIT });
  } catch {
    // `yaml` reads the text again and reports the error with its position.
    return undefined;
  }
  return new FastReader(text, events).readAll();
}

/**
 * Like `offsetOf` of parse.ts: returns the offset of the field or, if it is missing, of the key of its last parent that
 * is present.
 */
export function fastOffsetOf(document: FastDocument, path: Path, anchor: "key" | "value"): number {
  let value = document.value;
  let last: { readonly parent: unknown; readonly step: string | number } | undefined;
  for (const step of path) {
    const isThere = Array.isArray(value)
      ? typeof step === "number" && step < value.length
      : isMapping(value) && typeof step === "string" && Object.hasOwn(value, step);
    if (!isThere) return offsetOfStep(document, last, "key");
    last = { parent: value, step };
    value = Array.isArray(value) ? value[Number(step)] : isMapping(value) ? value[step] : undefined;
  }
  return offsetOfStep(document, last, anchor);
}

function offsetOfStep(
  { offset, itemOffsets, fieldsOf }: FastDocument,
  last: { readonly parent: unknown; readonly step: string | number } | undefined,
  anchor: "key" | "value",
): number {
  if (last === undefined) return offset;
  const { parent, step } = last;
  if (typeof step === "number") return itemOffsets.get(parent)?.[step] ?? offset;
  return fieldsOf(parent).get(step)?.[anchor] ?? offset;
}

const isMapping = (value: unknown): value is Readonly<Record<string, unknown>> =>
  value !== null && typeof value === "object" && !Array.isArray(value);

/** Thrown and caught in this module only: the simplest way out of a recursion. */
const UNUSUAL = new Error("This reader does not take the file.");

class FastReader {
  #at = 0;
  #hasNulls = false;
  #itemOffsets = new Map<unknown, readonly number[]>();
  /** By mapping: the event of its first key. */
  #firstKeys = new Map<unknown, number>();

  constructor(
    readonly text: string,
    readonly events: readonly Event[],
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
    this.#firstKeys = new Map();
    const first = this.#next();
    const value = this.#read(first);
    if (this.#next().type !== EVENT_ID.POP) throw UNUSUAL;
    const offset = value === null ? 0 : startOf(first);
    return {
      value,
      hasNulls: this.#hasNulls,
      offset,
      itemOffsets: this.#itemOffsets,
      fieldsOf: this.#fieldFinder(),
    };
  }

  #read(event: Event): unknown {
    switch (event.type) {
      case EVENT_ID.SCALAR:
        return this.#readScalar(event);
      case EVENT_ID.MAPPING:
        if (event.anchorStart >= 0 || event.tagStart >= 0) throw UNUSUAL;
        return this.#readMapping();
      case EVENT_ID.SEQUENCE:
        if (event.anchorStart >= 0 || event.tagStart >= 0) throw UNUSUAL;
        return this.#readSequence();
      case EVENT_ID.ALIAS:
      case EVENT_ID.DOCUMENT:
      case EVENT_ID.POP:
        throw UNUSUAL;
    }
  }

  #readMapping(): Record<string, unknown> {
    const mapping: Record<string, unknown> = {};
    this.#firstKeys.set(mapping, this.#at);
    for (let event = this.#next(); event.type !== EVENT_ID.POP; event = this.#next()) {
      if (event.type !== EVENT_ID.SCALAR) throw UNUSUAL;
      const key = this.#readScalar(event);
      if (typeof key !== "string" || key === "__proto__" || Object.hasOwn(mapping, key)) throw UNUSUAL;
      mapping[key] = this.#read(this.#next());
    }
    return mapping;
  }

  #fieldFinder(): FastDocument["fieldsOf"] {
    const firstKeys = this.#firstKeys;
    const known = new Map<unknown, ReadonlyMap<string, FieldOffset>>();
    return (mapping) => {
      const fields = known.get(mapping) ?? this.#findFields(firstKeys.get(mapping) ?? this.events.length);
      known.set(mapping, fields);
      return fields;
    };
  }

  /**
   * Finds the offsets of a mapping's fields.
   * @param first the event of the mapping's first key; the mapping was read before, so that it is known to be complete
   */
  #findFields(first: number): ReadonlyMap<string, FieldOffset> {
    const fields = new Map<string, FieldOffset>();
    for (let at = first; ; at = this.#endOf(at + 1)) {
      const [key, value] = [this.events[at], this.events[at + 1]];
      if (key?.type !== EVENT_ID.SCALAR || value === undefined) return fields;
      const start = startOf(key);
      fields.set(String(this.#readScalar(key)), { key: start, value: isEmpty(value) ? start : startOf(value) });
    }
  }

  /** Returns the index of the event behind a value. */
  #endOf(at: number): number {
    let depth = 0;
    for (let next = at; ; next++) {
      const type = this.events[next]?.type;
      if (type === EVENT_ID.MAPPING || type === EVENT_ID.SEQUENCE) depth += 1;
      else if (type === EVENT_ID.POP || type === undefined) depth -= 1;
      if (depth <= 0) return next + 1;
    }
  }

  #readSequence(): unknown[] {
    const sequence: unknown[] = [];
    const offsets: number[] = [];
    for (let event = this.#next(); event.type !== EVENT_ID.POP; event = this.#next()) {
      offsets.push(startOf(event));
      sequence.push(this.#read(event));
    }
    this.#itemOffsets.set(sequence, offsets);
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

  /** Reads a scalar by YAML 1.2's core schema, if it is unambiguous. */
  #readPlainScalar(source: string): unknown {
    if (PLAIN_TEXT.test(source)) return this.#readWord(source);
    if (/^(0|[1-9]\d{0,8})$/.test(source)) return Number(source);
    if (ADDRESS_LIKE.test(source)) return source;
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

/** Begins with a letter or a slash, so that no parser reads it as a number. */
const PLAIN_TEXT = /^[A-Za-z/][\x20-\x7e]*$/;
const WORDS = new Set(["null", "Null", "NULL", "true", "True", "TRUE", "false", "False", "FALSE"]);
/** Addresses and CIDRs: neither four numbers with dots nor a text with two colons is a number in YAML's core schema. */
const ADDRESS_LIKE = /^(\d{1,3}(\.\d{1,3}){3}|(?=[\da-fA-F:]*::)[\da-fA-F][\da-fA-F:]*)(\/\d{1,3})?$/;

const isEmpty = (event: Event): boolean => event.type === EVENT_ID.SCALAR && event.valueStart < 0;

function startOf(event: Event): number {
  if (event.type === EVENT_ID.MAPPING || event.type === EVENT_ID.SEQUENCE) return event.start;
  if (event.type !== EVENT_ID.SCALAR || event.valueStart < 0) throw UNUSUAL;
  // js-yaml points behind the quote, `yaml` at it.
  return event.style === SCALAR_STYLE.PLAIN ? event.valueStart : event.valueStart - 1;
}
