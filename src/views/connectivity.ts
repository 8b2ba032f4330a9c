/**
 * Connections as text or as a JSON document. A state may have a million of them, so that both are generated in parts,
 * which are printed one by one.
 */
import type { Connection } from "../model/connection.js";
import { printableJson } from "../model/printable.js";
import type { ObjectSet, SourceRef } from "../model/state.js";
import { layOut } from "./columns.js";
import { plainStyle, type Style } from "./style.js";
import { padTo, shorten } from "./wrap.js";

const LINES_A_PIECE = 4096;

/** Yields the document, one connection a line. The parts, printed in order, are the document. */
export function* connectivityDocument(
  source: SourceRef,
  connections: Iterable<Connection>,
  format: "json" | "yaml" = "json",
): Generator<string> {
  if (format === "yaml") {
    yield* connectivityYaml(source, connections);
    return;
  }
  yield `{\n  "formatVersion": 1,\n  "source": ${printableJson(source)},\n  "connections": [`;
  let isFirst = true;
  for (const piece of pieces(connections)) {
    const lines = piece.map((connection) => `    ${JSON.stringify(connection)}`);
    yield `${isFirst ? "" : ",\n"}${lines.join(",\n")}`;
    isFirst = false;
  }
  yield "  ]\n}";
}

/** The same in YAML, of which JSON is a part. */
function* connectivityYaml(source: SourceRef, connections: Iterable<Connection>): Generator<string> {
  const parts = pieces(connections);
  const first = parts.next();
  yield `formatVersion: 1\nsource: ${printableJson(source)}\nconnections:${first.done === true ? " []" : ""}`;
  if (first.done !== true) yield yamlLines(first.value);
  for (const piece of parts) yield yamlLines(piece);
}

function yamlLines(connections: readonly Connection[]): string {
  return connections.map((connection) => `  - ${printableJson(connection)}`).join("\n");
}

/**
 * Yields one line per connection; columns are aligned within a part, and parts are long.
 * @param objects the state of the connections: in a state without workloads, an empty list denies nothing
 */
export function* renderConnectivity(
  objects: ObjectSet,
  connections: Iterable<Connection>,
  { width }: Pick<Style, "width"> = plainStyle,
): Generator<string> {
  if (objects.size === 0) {
    yield "There are no objects here, so that there are no connections.";
    return;
  }
  if (![...objects.values()].some(({ ref }) => ref.kind === "Workload")) {
    yield "No Workload is declared here, so that there are no connections.";
    return;
  }
  let isEmpty = true;
  let unmeant = 0;
  for (const piece of pieces(foldSets(connections))) {
    yield connectionLines(piece, width).join("\n");
    unmeant += piece.filter(({ sharing }) => sharing !== undefined).length;
    isEmpty = false;
  }
  if (isEmpty) yield "No connection is allowed.";
  if (unmeant > 0)
    yield `${unmeant} of them ${unmeant === 1 ? "is" : "are"} named by no policy, but allowed by an address that workloads share.`;
}

function* pieces(connections: Iterable<Connection>): Generator<readonly Connection[]> {
  let piece: Connection[] = [];
  for (const connection of connections) {
    piece.push(connection);
    if (piece.length < LINES_A_PIECE) continue;
    yield piece;
    piece = [];
  }
  if (piece.length > 0) yield piece;
}

/** From this number of blocks on, the text has one line for those of the same NetworkSets. */
const FOLDED_BLOCKS = 5;

/** Joins blocks of the same NetworkSets with the same other end and ports; other connections keep their places. */
function* foldSets(connections: Iterable<Connection>): Generator<Connection> {
  let open = new Map<string, Connection[]>();
  let last = "";
  for (const connection of connections) {
    const { from, to, protocol, ports, networkSets } = connection;
    const isEgress = networkSets !== undefined && /[.:]/.test(to);
    const end = networkSets === undefined || isEgress ? from : "";
    if (end !== last) {
      yield* folded(open);
      open = new Map();
      last = end;
    }
    if (networkSets === undefined) yield connection;
    else {
      const key = JSON.stringify([isEgress ? from : to, isEgress, protocol, ports, networkSets]);
      const alike = open.get(key);
      if (alike === undefined) open.set(key, [connection]);
      else alike.push(connection);
    }
  }
  yield* folded(open);
}

function* folded(groups: ReadonlyMap<string, readonly Connection[]>): Generator<Connection> {
  for (const group of groups.values()) {
    const [first] = group;
    if (first === undefined || group.length < FOLDED_BLOCKS) {
      yield* group;
      continue;
    }
    const { networkSets = [], ...connection } = first;
    const ends = `${group.length} blocks of NetworkSet ${networkSets.join(", ")}`;
    yield /[.:]/.test(first.to) ? { ...connection, to: ends } : { ...connection, from: ends };
  }
}

/** None of them is ever left out. */
const ENDS = ["", "", ""].map((title) => ({ title, isName: true }) as const);
/** An arrow, with spaces, takes one column more than the gap of a table. */
const ARROW = " → ";

/** Returns lines such as `default/web → default/db  TCP 5432`, aligned, and cut to the width. */
export function connectionLines(connections: readonly Connection[], width = Infinity): readonly string[] {
  const rows = connections.map((connection) =>
    [
      connection.from,
      connection.to,
      `${describePorts(connection)}${describeSets(connection)}${describeSharing(connection)}`,
    ].map(plainStyle.clean),
  );
  const [from = 0, to = 0, ports = 0] = layOut(ENDS, rows, width - 1).widths;
  const cell = (text: string, columns: number, where: "middle" | "end") =>
    padTo(shorten(text, columns, where), columns);
  return rows.map(([a = "", b = "", c = ""]) =>
    `${cell(a, from, "middle")}${ARROW}${cell(b, to, "middle")}  ${cell(c, ports, "end")}`.trimEnd(),
  );
}

function describeSharing({ sharing = [] }: Connection): string {
  const ends = sharing.map(({ workload, with: others }) => `${workload} shares with ${others.join(", ")}`);
  return ends.length === 0 ? "" : `  (by the address that ${ends.join("; ")})`;
}

function describeSets({ networkSets = [] }: Connection): string {
  return networkSets.length === 0 ? "" : `  (NetworkSet ${networkSets.join(", ")})`;
}

export function describePorts({ protocol, ports }: Pick<Connection, "protocol" | "ports">): string {
  if (protocol === "*") return "everything";
  if (protocol === "other") return "other protocols";
  const isAll = ports.length === 1 && ports[0]?.[0] === 0 && ports[0][1] === 65535;
  return isAll
    ? protocol
    : `${protocol} ${ports.map(([first, last]) => describeInterval(protocol, first, last)).join(",")}`;
}

function describeInterval(protocol: Connection["protocol"], first: number, last: number): string {
  if (protocol !== "ICMP") return first === last ? `${first}` : `${first}-${last}`;
  const [type, code] = [first >> 8, first & 255];
  if (last === first) return `${type}.${code}`;
  if (code === 0 && (last & 255) === 255) return last >> 8 === type ? `${type}` : `${type}-${last >> 8}`;
  return `${type}.${code}-${last >> 8}.${last & 255}`;
}

/** Returns `5432/TCP`, or `8.0/ICMP`. */
export function describePort(protocol: string, port: number | null): string {
  if (port === null) return `${protocol} protocols`;
  return protocol === "ICMP" ? `${port >> 8}.${port & 255}/ICMP` : `${port}/${protocol}`;
}
