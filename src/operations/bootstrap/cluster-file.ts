/** The file that says who belongs to a cluster: text → members, nodes and operators, or all of its problems. Pure. */
import { isIP } from "node:net";
import { isSeq, parseDocument, type Document } from "yaml";
import { readText } from "../../manifest/yaml/read.js";
import { isLabel, isObjectName } from "../../model/guards.js";
import { OperationError } from "../../model/operation-error.js";
import { ENROLMENT_NAME, ROOT } from "./names.js";

export const CLUSTER_FILE = "cluster.yaml";

export interface EtcdMember {
  readonly name: string;
  /** An IP address without brackets, or a DNS name. */
  readonly address: string;
  /** The IP address on which it listens, without brackets: etcd listens on no names. */
  readonly listen: string;
  readonly clientPort: number;
  readonly peerPort: number;
}

export interface ClusterFile {
  readonly members: readonly EtcdMember[];
  /** Nodes whose keys are made in the authority's folder. */
  readonly nodes: readonly string[];
  /** Nodes that make their own keys, and enroll with a token. */
  readonly enrolled: readonly string[];
  /** The nodes that may lead. */
  readonly leaders: readonly string[];
  /** People who apply and register nodes. */
  readonly operators: readonly string[];
  /** The prefix of the store's keys, without slashes at its ends. */
  readonly prefix: string;
}

/** What the command line adds to the file. */
export interface ClusterAdditions {
  /** `NAME=ADDRESS`. */
  readonly members: readonly string[];
  readonly nodes: readonly string[];
  readonly enrolled: readonly string[];
  readonly leaders: readonly string[];
  readonly operators: readonly string[];
}

const LISTS = ["nodes", "enrolled", "leaders", "operators"] as const;
const KEYS = ["members", ...LISTS, "prefix"];
const MEMBER_KEYS = ["address", "listen", "clientPort", "peerPort"];
/** Names of certificates that the bootstrap makes for itself. */
const RESERVED = [ROOT, ENROLMENT_NAME];

const HEAD = `# Who belongs to this cluster. \`ztap cluster bootstrap\` reads this file, and adds to it what its flags name.
#
#   members:                 etcd's members, by name
#     m1: 10.0.0.1           or { address: 10.0.0.1, clientPort: 2379, peerPort: 2380 }
#     m2: { address: etcd2.example.com, listen: 10.0.0.2 }    a name needs the IP address to listen on
#   nodes: [web-1]           nodes that get a key and a certificate here
#   enrolled: [web-2]        nodes that make their own keys, and enroll with a token
#   leaders: [web-1]         the nodes that may lead
#   operators: [ada]         people who apply, and register nodes
#   prefix: ztap             the prefix of the store's keys
`;

/** Reads the file. @throws OperationError `invalid-settings` with all problems */
export function readClusterFile(path: string, text: string): ClusterFile {
  const value = valueOf(path, text);
  const problems: string[] = [];
  const file = toClusterFile(value, (problem) => void problems.push(`${path}: ${problem}`));
  if (problems.length > 0) throw new OperationError("invalid-settings", problems.join("\n"));
  return file;
}

/**
 * Returns the file's text with the additions. Comments and order stay.
 * @param text null: there is no file yet
 */
export function addToClusterFile(path: string, text: string | null, added: ClusterAdditions): string {
  if (text !== null) valueOf(path, text);
  const document: Document = parseDocument(text ?? HEAD);
  for (const one of added.members) {
    const [name, address] = splitOnce(one);
    if (address === "")
      throw new OperationError("usage", `--members: found ${JSON.stringify(one)}, wanted NAME=ADDRESS`);
    if (!document.hasIn(["members", name])) document.setIn(["members", name], address);
  }
  for (const list of LISTS) for (const name of added[list]) addToList(document, list, name);
  return isEmpty(added) && text !== null ? text : document.toString();
}

function isEmpty(added: ClusterAdditions): boolean {
  return added.members.length === 0 && LISTS.every((list) => added[list].length === 0);
}

function addToList(document: Document, list: string, name: string): void {
  const found = document.get(list);
  if (isSeq(found)) {
    if (!found.items.some((item) => String(Reflect.get(Object(item), "value") ?? item) === name)) found.add(name);
  } else document.set(list, document.createNode([name]));
}

/** The value of the one document. @throws OperationError `invalid-settings` */
function valueOf(path: string, text: string): Readonly<Record<string, unknown>> {
  const { documents, refusals } = readText({ path, text });
  const [document, other] = documents;
  const problems = [...refusals.map(({ problem }) => problem), ...(document?.problems ?? [])];
  const [problem] = problems;
  if (problem !== undefined) throw new OperationError("invalid-settings", `${path}: ${problem.message}`);
  if (other !== undefined)
    throw new OperationError("invalid-settings", `${path}: it has several documents, wanted one`);
  const value = document?.value ?? {};
  if (!isRecord(value))
    throw new OperationError("invalid-settings", `${path}: wanted a mapping, such as nodes: [web-1]`);
  return value;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

type Report = (problem: string) => void;

function toClusterFile(value: Readonly<Record<string, unknown>>, report: Report): ClusterFile {
  for (const key of Object.keys(value))
    if (!KEYS.includes(key)) report(`unknown field ${JSON.stringify(key)}; wanted one of ${KEYS.join(", ")}`);
  const members = readMembers(value["members"], report);
  const lists = {
    nodes: readNames("nodes"),
    enrolled: readNames("enrolled"),
    leaders: readNames("leaders"),
    operators: readNames("operators"),
  };
  const { prefix = "ztap" } = value;
  const isPrefix = typeof prefix === "string" && /^[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)*$/.test(prefix);
  if (!isPrefix) report(`prefix: found ${JSON.stringify(prefix)}, wanted letters, digits, ".", "_" and "-"`);
  const file = { members, ...lists, prefix: isPrefix ? prefix : "ztap" };
  reportClashes(file, report);
  return file;

  function readNames(key: string): readonly string[] {
    const { [key]: found = [] } = value;
    if (!Array.isArray(found)) {
      report(`${key}: wanted a list of names`);
      return [];
    }
    const names: readonly unknown[] = found;
    return names.filter((name): name is string => {
      const isGood = isLabel(name);
      if (!isGood) report(`${key}: found ${JSON.stringify(name)}, wanted ${NAME}`);
      return isGood;
    });
  }
}

const NAME = "a name of lower-case letters, digits and hyphens, of 63 characters at most";

function readMembers(value: unknown = {}, report: Report): readonly EtcdMember[] {
  if (!isRecord(value)) {
    report("members: wanted a mapping of names to addresses");
    return [];
  }
  return Object.entries(value).flatMap(([name, found]) => {
    if (!isLabel(name)) report(`members: found ${JSON.stringify(name)}, wanted ${NAME}`);
    const record = isRecord(found) ? found : { address: found };
    for (const key of Object.keys(record))
      if (!MEMBER_KEYS.includes(key)) report(`members.${name}: unknown field ${JSON.stringify(key)}`);
    const { address, clientPort = 2379, peerPort = 2380 } = record;
    if (typeof address !== "string" || (isIP(address) === 0 && !isObjectName(address))) {
      report(`members.${name}: found the address ${JSON.stringify(address)}, wanted an IP address or a DNS name`);
      return [];
    }
    const { listen = address } = record;
    if (typeof listen !== "string" || isIP(listen) === 0) {
      const example = `{ address: ${address}, listen: 10.0.0.1 }`;
      const why =
        record["listen"] === undefined ? "etcd listens on IP addresses alone, and its address is a name: " : "";
      report(`members.${name}: ${why}wanted the IP address to listen on, such as ${example} in ${CLUSTER_FILE}`);
      return [];
    }
    if (!isPortNumber(clientPort) || !isPortNumber(peerPort) || clientPort === peerPort) {
      report(`members.${name}: wanted two different ports from 1 to 65535`);
      return [];
    }
    return [{ name, address, listen, clientPort, peerPort }];
  });
}

function isPortNumber(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 65_535;
}

/** Two bearers of one name would be one user of etcd, with the rights of both. */
function reportClashes({ members, nodes, enrolled, leaders, operators }: ClusterFile, report: Report): void {
  const bearers = new Map<string, string>(RESERVED.map((name) => [name, "a name of the cluster's own"]));
  const claim = (name: string, what: string): void => {
    const other = bearers.get(name);
    if (other !== undefined) report(`${name} is ${other}, and cannot be ${what} as well`);
    else bearers.set(name, what);
  };
  for (const { name } of members) claim(name, "a member");
  for (const name of nodes) claim(name, "one of the nodes");
  for (const name of enrolled) claim(name, "one of the enrolled nodes");
  for (const name of operators) claim(name, "an operator");
  const known = new Set([...nodes, ...enrolled]);
  for (const name of leaders) if (!known.has(name)) report(`leaders: ${name} is not among the nodes`);
}

/** `NAME=ADDRESS`; an empty address if there is none. */
function splitOnce(text: string): readonly [string, string] {
  const at = text.indexOf("=");
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}
