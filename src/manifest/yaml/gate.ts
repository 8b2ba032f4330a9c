/**
 * The gate of the fast reader: accepts only text that has one meaning to every parser of YAML 1.2. Parsers of 1.1 read
 * it the same way, except for words: they read `yes`, `no`, `on` and `off` (boolean-words.ts) as booleans, and some of
 * them `y` and `n`.
 *
 * Each line is blank, a comment, `---`, or one entry: dashes, a key, and a value that begins and ends on the line.
 * Columns must show the structure without ambiguity. Scalars use few characters, quoted ones no escapes, flow
 * collections only JSON's syntax and plain words. All other text, right or wrong, is left to `yaml`. One pass over the
 * text; nothing is read twice.
 */

import { hasDoubtfulCharacters } from "./characters.js";

/** Deeper than any field of any kind. */
const DEPTH_LIMIT = 64;
/** YAML allows 1,024 characters for a key on one line; no field or label comes near. */
const KEY_LIMIT = 400;

const SPACE = 0x20;
const QUOTE = 0x22;
const HASH = 0x23;
const APOSTROPHE = 0x27;
const COMMA = 0x2c;
const DASH = 0x2d;
const COLON = 0x3a;
const OPENING = { list: 0x5b, mapping: 0x7b } as const;
const CLOSING = { list: 0x5d, mapping: 0x7d } as const;

/**
 * 1: allowed within a plain scalar; 2: allowed as its first character as well. No YAML parser reads any of them as
 * punctuation.
 */
const PLAIN = new Uint8Array(128);
for (const character of "_.+=@();-") PLAIN[character.charCodeAt(0)] = 1;
for (const character of "/0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
  PLAIN[character.charCodeAt(0)] = 2;

/** A block collection that further lines may extend. */
interface Level {
  readonly column: number;
  readonly isList: boolean;
}

export function isUndoubted(text: string): boolean {
  return !hasDoubtfulCharacters(text) && new Gate(text).passes();
}

class Gate {
  #at = 0;
  /** Offset behind the last character of the line. */
  #end = 0;
  #levels: Level[] = [];
  /** Whether the last entry has no value yet, so that a collection may follow below it. */
  #isOpen = true;

  constructor(readonly text: string) {}

  passes(): boolean {
    for (let start = 0; start < this.text.length;) {
      const newline = this.text.indexOf("\n", start);
      const next = newline === -1 ? this.text.length : newline;
      this.#at = start;
      this.#end = newline > start && this.text.charCodeAt(newline - 1) === 0x0d ? newline - 1 : next;
      if (!this.#takeLine(start)) return false;
      start = next + 1;
    }
    return true;
  }

  #takeLine(start: number): boolean {
    this.#skipSpaces();
    if (this.#isDone()) return true;
    if (this.#at === start && this.text.startsWith("---", start)) {
      this.#at += 3;
      this.#levels = [];
      this.#isOpen = true;
      return this.#isLineDone();
    }
    return this.#takeEntry(start);
  }

  /** Reads `- - key: value`, or any part of it. */
  #takeEntry(start: number): boolean {
    let isItem = false;
    while (this.#isDash()) {
      if (!this.#place(this.#at - start, true)) return false;
      isItem = true;
      this.#isOpen = true;
      this.#at += 1;
      this.#skipSpaces();
      if (this.#isDone()) return true;
    }
    const from = this.#at;
    if (this.#takeKey()) {
      if (!this.#place(from - start, false)) return false;
      this.#isOpen = true;
      if (this.#isLineDone()) return true;
    } else {
      // A value alone is an item of a list, or the whole document in flow style.
      this.#at = from;
      const isDocument = from === start && this.#levels.length === 0 && this.#isOpen && this.#isFlow();
      if (!isItem && !isDocument) return false;
      if (isDocument) this.#levels.push({ column: -1, isList: true });
    }
    this.#isOpen = false;
    this.#skipSpaces();
    return this.#takeValue() && this.#isLineDone();
  }

  /**
   * Returns whether an entry may stand in this column: beside the others of its collection, or as the first of a new
   * one.
   */
  #place(column: number, isList: boolean): boolean {
    while ((this.#levels.at(-1)?.column ?? -2) > column) {
      this.#levels.pop();
      this.#isOpen = false;
    }
    const top = this.#levels.at(-1);
    if (top?.column === column) {
      if (top.isList === isList) return true;
      // A list may stand in its key's column.
      if (isList) return this.#isOpen && this.#push({ column, isList });
      this.#levels.pop();
      return this.#levels.at(-1)?.column === column;
    }
    return this.#isOpen && this.#push({ column, isList });
  }

  #push(level: Level): boolean {
    this.#levels.push(level);
    return this.#levels.length <= DEPTH_LIMIT;
  }

  #isDash(): boolean {
    if (this.text.charCodeAt(this.#at) !== DASH || this.#at === this.#end) return false;
    return this.#at + 1 === this.#end || this.text.charCodeAt(this.#at + 1) === SPACE;
  }

  #takeKey(): boolean {
    const from = this.#at;
    if (!this.#takeScalar(true)) return false;
    if (this.#at - from > KEY_LIMIT || this.text.charCodeAt(this.#at) !== COLON || this.#at >= this.#end) return false;
    this.#at += 1;
    return this.#at === this.#end || this.text.charCodeAt(this.#at) === SPACE;
  }

  #isFlow(): boolean {
    const code = this.text.charCodeAt(this.#at);
    return code === OPENING.list || code === OPENING.mapping;
  }

  #takeValue(): boolean {
    return this.#isFlow() ? this.#takeFlow() : this.#takeScalar(false);
  }

  #takeScalar(isKey: boolean): boolean {
    const code = this.text.charCodeAt(this.#at);
    if (code === QUOTE || code === APOSTROPHE) return this.#takeQuoted(code);
    return this.#takePlain(isKey);
  }

  /** Reads a quoted scalar without escapes, on one line. */
  #takeQuoted(quote: number): boolean {
    for (this.#at += 1; this.#at < this.#end; this.#at += 1) {
      const code = this.text.charCodeAt(this.#at);
      if (code === quote) {
        this.#at += 1;
        return this.text.charCodeAt(this.#at) !== quote;
      }
      if (code < SPACE || code === 0x5c) return false;
    }
    return false;
  }

  /**
   * Reads words with spaces between them; a colon is allowed only within a word, as in an address. A key is one word
   * without colons.
   */
  #takePlain(isKey: boolean): boolean {
    if (this.#classAt(this.#at) !== 2) return false;
    let last = this.#at;
    for (let at = last + 1; at < this.#end; at += 1) {
      const code = this.text.charCodeAt(at);
      if (code === SPACE && !isKey) continue;
      if (code === COLON && !isKey && last === at - 1 && this.#isWithin(at + 1)) last = at;
      else if (this.#classAt(at) > 0) last = at;
      else break;
    }
    this.#at = last + 1;
    return this.#at <= this.#end;
  }

  #isWithin(at: number): boolean {
    if (at >= this.#end) return false;
    if (this.#classAt(at) > 0) return true;
    return this.text.charCodeAt(at) === COLON && this.#classAt(at + 1) > 0 && at + 1 < this.#end;
  }

  #classAt(at: number): number {
    const code = this.text.charCodeAt(at);
    return code < 128 ? (PLAIN[code] ?? 0) : 0;
  }

  /**
   * Reads a flow collection: JSON's syntax with plain words, on one line, without trailing commas, keys without values
   * or pairs in lists.
   */
  #takeFlow(): boolean {
    const open: boolean[] = [];
    do {
      const isMapping = this.text.charCodeAt(this.#at) === OPENING.mapping;
      open.push(isMapping);
      if (open.length > DEPTH_LIMIT) return false;
      this.#at += 1;
      this.#skipSpaces();
      const isEmpty = this.text.charCodeAt(this.#at) === (isMapping ? CLOSING.mapping : CLOSING.list);
      if (!isEmpty && !this.#takeFlowStart(isMapping)) return false;
      if (!isEmpty && this.#isFlow()) continue;
      if (!isEmpty && !this.#takeScalar(false)) return false;
      if (!this.#closeFlow(open)) return false;
    } while (open.length > 0);
    return true;
  }

  /** After a value: closes collections, and continues up to the next nested collection or to the end. */
  #closeFlow(open: boolean[]): boolean {
    for (;;) {
      this.#skipSpaces();
      if (this.#at >= this.#end) return false;
      const isMapping = open.at(-1) === true;
      const code = this.text.charCodeAt(this.#at);
      if (code === (isMapping ? CLOSING.mapping : CLOSING.list)) {
        this.#at += 1;
        open.pop();
        if (open.length === 0) return true;
      } else if (code === COMMA) {
        this.#at += 1;
        this.#skipSpaces();
        if (!this.#takeFlowStart(isMapping)) return false;
        if (this.#isFlow()) return true;
        if (!this.#takeScalar(false)) return false;
      } else return false;
    }
  }

  /** Reads the key that a mapping requires, up to its value. */
  #takeFlowStart(isMapping: boolean): boolean {
    if (!isMapping) return true;
    const from = this.#at;
    const isQuoted = [QUOTE, APOSTROPHE].includes(this.text.charCodeAt(from));
    if (!this.#takeScalar(true) || this.#at - from > KEY_LIMIT) return false;
    if (this.text.charCodeAt(this.#at) !== COLON || this.#at >= this.#end) return false;
    this.#at += 1;
    // After a quoted key the space may be missing, as in JSON.
    if (!isQuoted && this.text.charCodeAt(this.#at) !== SPACE) return false;
    this.#skipSpaces();
    return this.#at < this.#end;
  }

  #skipSpaces(): void {
    while (this.#at < this.#end && this.text.charCodeAt(this.#at) === SPACE) this.#at += 1;
  }

  /** Returns whether the line ends here, or only a comment follows; spaces were skipped. */
  #isDone(): boolean {
    return this.#at === this.#end || this.text.charCodeAt(this.#at) === HASH;
  }

  #isLineDone(): boolean {
    const from = this.#at;
    this.#skipSpaces();
    return this.#at === this.#end || (this.#at > from && this.text.charCodeAt(this.#at) === HASH);
  }
}
