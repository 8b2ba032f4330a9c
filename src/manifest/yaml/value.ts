/**
 * Turns a YAML tree into a plain value, and refuses everything that parsers could read differently: duplicate keys,
 * keys that are not text, numbers with leading zeros, and aliases that multiply. Takes a document without syntax
 * errors, collects problems, never throws.
 */
import { isAlias, isMap, isNode, isScalar, isSeq, type Document, type Scalar, type YAMLMap } from "yaml";
import { show, type Path, type Problem } from "../problem.js";
import { BOOLEAN_WORDS, wordProblem } from "./boolean-words.js";
import { keyText, nodeOffset } from "./parse.js";

/**
 * Largest number of nodes that aliases may add to one document. Real policies stay far below it; an alias bomb exceeds
 * it by far.
 */
const ALIAS_NODE_LIMIT = 10_000;
/** Deeper than any field of any kind, and far below the limit of the stack. */
const DEPTH_LIMIT = 64;

export interface Value {
  readonly value: unknown;
  /** True if some field or item is null, which has a meaning in Kubernetes and none in ztap/v1. */
  readonly hasNulls: boolean;
  readonly problems: readonly Problem[];
  /** Warnings do not keep the document from being read. */
  readonly warnings: readonly Problem[];
  /** Values with an unsupported tag; further problems of them are part of the same mistake. */
  readonly tagged: readonly Path[];
}

export function toValue(document: Document.Parsed): Value {
  const reader = new ValueReader();
  const value = reader.read(document.contents);
  const { hasNulls, problems, warnings, tagged } = reader;
  return { value, hasNulls, problems, warnings, tagged };
}

/** Leading zeros; underscores; bases that YAML 1.1 and Go know and YAML 1.2 does not, or writes differently. */
const OTHER_NUMBER = /^[-+]?(0\d|0[bBOX][\da-fA-F_]|0x[\da-fA-F]*_|\d[\d.]*_[\d_.]*$)/;

/** Returns the number that was most likely meant. */
function readNumber(source: string): number | undefined {
  const plain = source.replaceAll("_", "").toLowerCase();
  const number = Number(plain);
  return plain.length < 20 && Number.isSafeInteger(number) ? number : undefined;
}

/** The tags of YAML's core schema, which only repeat the type of the value. */
const CORE_TAG = /^tag:yaml\.org,2002:(str|int|float|bool|null|map|seq)$/;

/** YAML 1.2 allows more; libyaml and its derivatives end the name at any other character. */
const ANCHOR = /^[\w-]+$/;

class ValueReader {
  readonly problems: Problem[] = [];
  readonly warnings: Problem[] = [];
  readonly tagged: Path[] = [];
  hasNulls = false;
  /** One path that grows and shrinks during the walk; copied only for a problem. */
  readonly #path: (string | number)[] = [];
  /**
   * Anchors seen so far; an alias refers to the last one before it. `Alias.resolve` would search the whole document
   * each time.
   */
  readonly #anchors = new Map<string, unknown>();
  #aliasDepth = 0;
  #aliasNodes = 0;
  #stopped = false;

  read(node: unknown): unknown {
    if (this.#stopped) return null;
    if (this.#path.length > DEPTH_LIMIT) {
      return this.#stop("nestingLimit", node, `this is nested deeper than ${DEPTH_LIMIT} levels`);
    }
    if (this.#aliasDepth > 0 && ++this.#aliasNodes > ALIAS_NODE_LIMIT) {
      return this.#stop("aliasLimit", node, `aliases add more than ${ALIAS_NODE_LIMIT} nodes to this document`);
    }
    if (isAlias(node)) return this.#readAlias(node.source, node);
    this.#checkAnchor(node);
    if (this.#hasOwnTag(node)) this.tagged.push([...this.#path]);
    if (isScalar(node)) {
      if (node.anchor !== undefined) this.#anchors.set(node.anchor, node);
      return this.#readScalar(node.value, node.source, node);
    }
    if (isMap(node)) {
      if (node.anchor !== undefined) this.#anchors.set(node.anchor, node);
      return this.#readMap(node);
    }
    if (isSeq(node)) {
      if (node.anchor !== undefined) this.#anchors.set(node.anchor, node);
      return node.items.map((item, index) => this.#readAt(index, item));
    }
    this.hasNulls = true;
    return null;
  }

  /** Reports a tag that would change the node's value, and returns whether there is one. */
  #hasOwnTag(node: unknown): boolean {
    if (!isNode(node) || node.tag === undefined || CORE_TAG.test(node.tag)) return false;
    const name = node.tag.replace(/^tag:yaml\.org,2002:/, "!!");
    this.#report("unknownTag", node, {
      message: `the tag ${name} would change the type of the value, and is not supported`,
      found: name,
      wanted: "plain values",
      fix: "remove the tag, and write the plain value",
    });
    return true;
  }

  #checkAnchor(node: unknown): void {
    if (!isNode(node) || isAlias(node) || node.anchor === undefined || ANCHOR.test(node.anchor)) return;
    this.#report("readersDiffer", node, {
      message: `YAML parsers differ in where the name of the anchor &${node.anchor} ends`,
      found: `&${node.anchor}`,
      wanted: "ASCII letters, digits, - and _ in the names of anchors",
      fix: "give the anchor another name, or put the value in quotes if text is intended",
    });
  }

  #readAt(step: string | number, node: unknown): unknown {
    this.#path.push(step);
    const value = this.read(node);
    this.#path.pop();
    return value;
  }

  #readScalar(value: unknown, source: string | undefined, node: Scalar): unknown {
    if (value === null) this.hasNulls = true;
    this.#noteWord(node, "value");
    if (source === undefined || node.type !== "PLAIN" || !OTHER_NUMBER.test(source)) return value;
    const number = readNumber(source);
    this.#report("ambiguousNumber", node, {
      message: `${show(source)} is a number to some YAML parsers (1.1, as in Kubernetes), and text or another number to others`,
      found: source,
      wanted: "a decimal number without leading zeros and underscores, or text in quotes",
      fix: `write ${number === undefined ? "the number in decimal digits" : number}, or "${source}" if text is intended`,
    });
    return value;
  }

  #readAlias(name: string, node: unknown): unknown {
    if (!this.#anchors.has(name)) {
      this.#report("yamlSyntax", node, {
        message: `the alias *${name} has no anchor &${name} before it`,
        found: `*${name}`,
        fix: `put it in quotes if text is intended: "*${name}"`,
      });
      return null;
    }
    this.#aliasDepth += 1;
    const value = this.read(this.#anchors.get(name));
    this.#aliasDepth -= 1;
    return value;
  }

  #readMap(map: YAMLMap): Record<string, unknown> {
    const object: Record<string, unknown> = {};
    for (const pair of map.items) {
      const key = keyText(pair.key);
      this.#checkAnchor(pair.key);
      if (this.#hasOwnTag(pair.key)) continue;
      if (key === undefined) {
        this.#report("badKey", pair.key, { message: "this key is not text", wanted: "plain text as key" });
      } else if (Object.hasOwn(object, key)) {
        this.#path.push(key);
        this.#report("duplicateKey", pair.key, {
          message: `the key ${JSON.stringify(key)} is in this mapping twice`,
          found: key,
          wanted: "each key once",
          fix:
            // Two keys of a document itself, not of a nested mapping: two objects without a `---` between them.
            this.#path.length === 1 && (key === "apiVersion" || key === "kind")
              ? "put a line --- between two objects, or remove one of the two keys"
              : "remove one of the two, or merge their values",
        });
        this.#path.pop();
      } else if (key === "__proto__") {
        // Plain assignment would set the object's prototype and hide the field from every later check.
        Object.defineProperty(object, key, { value: this.#readAt(key, pair.value), enumerable: true });
      } else {
        object[key] = this.#readAt(key, pair.value);
        this.#path.push(key);
        this.#noteWord(pair.key, "key");
        this.#path.pop();
      }
    }
    return object;
  }

  /** Only a scalar without quotes and tag is a boolean to some parser. */
  #noteWord(node: unknown, anchor: "key" | "value"): void {
    if (!isScalar(node) || node.type !== "PLAIN" || node.tag !== undefined || node.source === undefined) return;
    if (!BOOLEAN_WORDS.has(node.source)) return;
    const problem = wordProblem(node.source, [...this.#path], anchor);
    if (problem !== undefined) this.warnings.push({ ...problem, offset: nodeOffset(node) });
  }

  #stop(code: "aliasLimit" | "nestingLimit", node: unknown, message: string): null {
    this.#stopped = true;
    this.#report(code, node, { message });
    return null;
  }

  #report(code: Problem["code"], node: unknown, rest: Omit<Problem, "code" | "path">): void {
    this.problems.push({ code, path: [...this.#path], offset: nodeOffset(node), ...rest });
  }
}
