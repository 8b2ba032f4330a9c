/**
 * Grammar: the part of pf.conf(5) that ztap writes, read from its text and from nothing else. What it does not know
 * it refuses, so that a rule which pf would read otherwise, or not at all, is found here.
 */
export interface Host {
  readonly kind: "any" | "cidr" | "table";
  readonly text: string;
}

export interface PfRule {
  readonly action: "pass" | "block";
  readonly direction: "in" | "out";
  readonly quick: boolean;
  readonly iface: string | null;
  readonly family: 4 | 6 | null;
  /** IP protocol number. */
  readonly protocol: number | null;
  readonly from: Host;
  readonly to: Host;
  /** Of the destination. */
  readonly port: readonly [first: number, last: number] | null;
  readonly user: string | null;
  /** Flags S/SA: only the packet that opens a TCP connection. */
  readonly opening: boolean;
  readonly icmpType: number | null;
  readonly icmpCode: number | null;
  readonly state: boolean;
  readonly label: string;
}

export interface PfAnchor {
  readonly tables: ReadonlyMap<string, readonly string[]>;
  readonly rules: readonly PfRule[];
}

const PROTOCOLS: Readonly<Record<string, number>> = { tcp: 6, udp: 17, icmp: 1, icmp6: 58 };
/** PF_RULE_LABEL_SIZE and PF_TABLE_NAME_SIZE count the zero at the end. */
const MAX_LABEL = 63;
const MAX_TABLE = 31;

/** @throws SyntaxError with the line */
export function parseAnchor(text: string): PfAnchor {
  const tables = new Map<string, readonly string[]>();
  const rules: PfRule[] = [];
  for (const line of logicalLines(text)) {
    const tokens = tokenize(line);
    if (tokens.length === 0) continue;
    const reader = new Reader(tokens, line);
    if (reader.takes("table")) readTable(reader, tables);
    else rules.push(readRule(reader));
    reader.end();
  }
  for (const rule of rules) {
    for (const { kind, text: name } of [rule.from, rule.to])
      if (kind === "table" && !tables.has(name)) throw new SyntaxError(`no table <${name}>`);
  }
  // Without `persist` pf removes a table that no rule refers to.
  const named = new Set(rules.flatMap(({ from, to }) => [from.text, to.text]));
  for (const name of tables.keys()) if (!named.has(name)) throw new SyntaxError(`no rule refers to table <${name}>`);
  return { tables, rules };
}

/** A backslash before a line break joins two lines, in comments as well. */
function logicalLines(text: string): readonly string[] {
  return text.replaceAll("\\\n", " ").split("\n");
}

function tokenize(line: string): readonly string[] {
  const tokens: string[] = [];
  let rest = line.trimStart();
  while (rest !== "" && !rest.startsWith("#")) {
    const [token] = /^(?:"[^"\n]*"|<[A-Za-z0-9_.-]+>|[{},]|[A-Za-z0-9_.:/%-]+)/.exec(rest) ?? [];
    if (token === undefined) throw new SyntaxError(`not understood: ${rest.slice(0, 40)} in ${line.slice(0, 200)}`);
    tokens.push(token);
    rest = rest.slice(token.length).trimStart();
  }
  return tokens;
}

class Reader {
  #at = 0;
  constructor(
    readonly tokens: readonly string[],
    readonly line: string,
  ) {}

  get next(): string | undefined {
    return this.tokens[this.#at];
  }

  takes(word: string): boolean {
    if (this.next !== word) return false;
    this.#at += 1;
    return true;
  }

  take(pattern: RegExp): string {
    const { next } = this;
    if (next === undefined || !pattern.test(next))
      throw new SyntaxError(`found ${next ?? "the end"}, wanted ${String(pattern)} in ${this.line.slice(0, 200)}`);
    this.#at += 1;
    return next;
  }

  end(): void {
    if (this.next !== undefined)
      throw new SyntaxError(`${this.next} is one word too many in ${this.line.slice(0, 200)}`);
  }
}

const CIDR = /^[0-9a-fA-F.:]+\/[0-9]+$/;

function readTable(reader: Reader, tables: Map<string, readonly string[]>): void {
  const name = reader.take(/^<.+>$/).slice(1, -1);
  if (name.length > MAX_TABLE) throw new SyntaxError(`table name ${name} is too long`);
  if (tables.has(name)) throw new SyntaxError(`table ${name} is there already`);
  reader.take(/^const$/);
  reader.take(/^\{$/);
  const cidrs: string[] = [];
  do cidrs.push(reader.take(CIDR));
  while (reader.takes(","));
  reader.take(/^\}$/);
  tables.set(name, cidrs);
}

function readRule(reader: Reader): PfRule {
  const action = reader.takes("pass") ? "pass" : reader.take(/^block$/) && reader.take(/^drop$/) && "block";
  if (action === "") throw new SyntaxError("no action");
  const direction = reader.takes("in") ? "in" : (reader.take(/^out$/) && "out") || "out";
  const quick = reader.takes("quick");
  const iface = reader.takes("on") ? reader.take(/^[a-z]+[0-9]+$/) : null;
  const family = reader.takes("inet") ? 4 : reader.takes("inet6") ? 6 : null;
  const protocol = reader.takes("proto") ? readProtocol(reader) : null;
  reader.take(/^from$/);
  const from = readHost(reader);
  reader.take(/^to$/);
  const to = readHost(reader);
  const port = reader.takes("port") ? readPorts(reader, protocol) : null;
  const user = reader.takes("user") ? reader.take(/^"[^"]+"$/).slice(1, -1) : null;
  const flags = reader.takes("flags") ? reader.take(/^(S\/SA|any)$/) : null;
  const [icmpType, icmpCode] = readIcmp(reader, family, protocol);
  const state = reader.takes("keep") ? reader.take(/^state$/) !== "" : false;
  if (!state && reader.takes("no")) reader.take(/^state$/);
  else if (!state && action === "pass") throw new SyntaxError(`a state is kept unless it is said: ${reader.line}`);
  reader.take(/^label$/);
  const label = reader.take(/^"[^"$]+"$/).slice(1, -1);
  if (label.length > MAX_LABEL) throw new SyntaxError(`label ${label} is too long`);
  if (user !== null && protocol !== 6 && protocol !== 17)
    throw new SyntaxError(`only sockets of TCP and UDP have a user: ${reader.line}`);
  const families = [from, to].map(({ kind, text }) => (kind === "cidr" ? (text.includes(":") ? 6 : 4) : null));
  if (families[0] !== null && families[1] !== null && families[0] !== families[1])
    throw new SyntaxError(`addresses of two families: ${reader.line}`);
  if (family !== null && families.some((one) => one !== null && one !== family))
    throw new SyntaxError(`an address of the other family: ${reader.line}`);
  return {
    ...{ action, direction, quick, iface, family, protocol, from, to, port, user },
    ...{ opening: flags === "S/SA", icmpType, icmpCode, state, label },
  };
}

function readProtocol(reader: Reader): number {
  const text = reader.take(/^(tcp|udp|icmp|icmp6|[0-9]+)$/);
  return PROTOCOLS[text] ?? Number(text);
}

function readHost(reader: Reader): Host {
  const text = reader.take(/^(any|<.+>|[0-9a-fA-F.:]+\/[0-9]+)$/);
  if (text === "any") return { kind: "any", text };
  return text.startsWith("<") ? { kind: "table", text: text.slice(1, -1) } : { kind: "cidr", text };
}

function readPorts(reader: Reader, protocol: number | null): readonly [number, number] {
  if (protocol !== 6 && protocol !== 17) throw new SyntaxError(`only TCP and UDP have ports: ${reader.line}`);
  const [first = NaN, last = first] = reader
    .take(/^[0-9]{1,5}(:[0-9]{1,5})?$/)
    .split(":")
    .map(Number);
  if (first > last || last > 65535) throw new SyntaxError(`not a range of ports: ${reader.line}`);
  return [first, last];
}

function readIcmp(
  reader: Reader,
  family: 4 | 6 | null,
  protocol: number | null,
): readonly [type: number | null, code: number | null] {
  const isSix = reader.takes("icmp6-type");
  if (!isSix && !reader.takes("icmp-type")) return [null, null];
  if (isSix ? family !== 6 || protocol !== 58 : family !== 4 || protocol !== 1)
    throw new SyntaxError(`a type of another protocol: ${reader.line}`);
  const type = readByte(reader);
  return [type, reader.takes("code") ? readByte(reader) : null];
}

/** pf keeps one more than the number in a byte: 255 would be any. */
function readByte(reader: Reader): number {
  const value = Number(reader.take(/^[0-9]{1,3}$/));
  if (value > 254) throw new SyntaxError(`${value} does not fit: ${reader.line}`);
  return value;
}
