/**
 * YAML tree → plain value, with everything refused that a reader could take for something else:
 * duplicate keys, keys that are no text, numbers with leading zeros, and aliases that multiply.
 * Takes a document without syntax errors, collects problems, never throws.
 */
import { isAlias, isMap, isScalar, isSeq, type Document, type YAMLMap } from "yaml";
import type { Problem } from "./problem.js";
import { keyText, nodeOffset } from "./yaml.js";

/** Nodes that aliases may add to one document. Real policies stay far below it, a bomb is far above. */
const ALIAS_NODE_LIMIT = 10_000;
/** Deeper than any field of any kind, and far from what would endanger the stack. */
const DEPTH_LIMIT = 64;

export interface Value {
  readonly value: unknown;
  /** True where some field is null: Kubernetes takes such a field for one that was left out. */
  readonly hasNulls: boolean;
  readonly problems: readonly Problem[];
}

export function toValue(document: Document.Parsed): Value {
  const reader = new ValueReader();
  const value = reader.read(document.contents);
  return { value, hasNulls: reader.hasNulls, problems: reader.problems };
}

class ValueReader {
  readonly problems: Problem[] = [];
  hasNulls = false;
  /** One path that grows and shrinks with the walk; copied only for a problem. */
  readonly #path: (string | number)[] = [];
  /** Anchors seen so far; an alias means the last one before it. `Alias.resolve` would search the whole document each time. */
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

  #readAt(step: string | number, node: unknown): unknown {
    this.#path.push(step);
    const value = this.read(node);
    this.#path.pop();
    return value;
  }

  #readScalar(value: unknown, source: string | undefined, node: unknown): unknown {
    if (value === null) this.hasNulls = true;
    if (typeof value === "number" && source !== undefined && /^[-+]?0\d/.test(source)) {
      this.#report("ambiguousNumber", node, {
        message: `${source} begins with a zero: some readers take it for an octal number, others for a decimal one`,
        found: source,
        wanted: "a number without leading zeros, or text in quotes",
        fix: `write ${value}, or "${source}" where text is meant`,
      });
    }
    return value;
  }

  #readAlias(name: string, node: unknown): unknown {
    if (!this.#anchors.has(name)) {
      this.#report("yamlSyntax", node, {
        message: `the alias *${name} has no anchor &${name} before it`,
        found: `*${name}`,
        fix: `put it in quotes where text is meant: "*${name}"`,
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
      if (key === undefined) {
        this.#report("badKey", pair.key, { message: "this key is no text", wanted: "plain text as key" });
      } else if (Object.hasOwn(object, key)) {
        this.#path.push(key);
        this.#report("duplicateKey", pair.key, {
          message: `the key ${JSON.stringify(key)} stands in this mapping twice`,
          found: key,
          wanted: "each key once",
          fix:
            // Of a document itself, and not of something in it: two objects were written one below the other.
            this.#path.length === 1 && (key === "apiVersion" || key === "kind")
              ? "put a line --- between two objects; one of the same key is too many"
              : "remove one of the two, or join what they hold",
        });
        this.#path.pop();
      } else if (key === "__proto__") {
        // Plain assignment would set the object's prototype and hide the field from every later check.
        Object.defineProperty(object, key, { value: null, enumerable: true });
      } else {
        object[key] = this.#readAt(key, pair.value);
      }
    }
    return object;
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

/** The value without the object fields that are null. A null in a list stays: it is no field, and nobody can tell what it means. */
export function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (value === null || typeof value !== "object") return value;
  const kept = Object.entries(value).filter(([, member]) => member !== null);
  return Object.fromEntries(kept.map(([key, member]) => [key, withoutNulls(member)]));
}
