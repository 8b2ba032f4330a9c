/** The file that says who belongs to a cluster: text → members, nodes and operators, or all of its problems. Pure. */
import { isIP } from "node:net";
import { isSeq, parseDocument, type Document } from "yaml";
import type { Path } from "../../manifest/problem.js";
import { parseBootstrap } from "../../manifest/schema/validators.js";
import { readSingle } from "../../manifest/single.js";
import { diagnosticLine } from "../../model/diagnostic.js";
import type { BootstrapDocument, BootstrapMember } from "../../model/generated.js";
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

/** Reports what is wrong at a field. */
type Report = (path: Path, message: string, anchor?: "key" | "value") => void;

/** Reads the file. @throws OperationError `invalid-settings` with all problems, each with its line and column */
export function readClusterFile(path: string, text: string): ClusterFile {
  const { document, positionOf } = readDocument(path, text);
  const problems: string[] = [];
  const file = toClusterFile(document ?? {}, (at, message, anchor = "value") => {
    const { line, column } = positionOf(at, anchor);
    problems.push(`${path}:${line}:${column} ${message}`);
  });
  if (problems.length > 0) throw new OperationError("invalid-settings", problems.join("\n"));
  return file;
}

/**
 * Returns the file's text with the additions. Comments and order stay.
 * @param text null: there is no file yet
 * @throws OperationError `invalid-settings`; `usage` if a member has another address there, or two here
 */
export function addToClusterFile(path: string, text: string | null, added: ClusterAdditions): string {
  const members = new Map(Object.entries(text === null ? {} : (readDocument(path, text).document?.members ?? {})));
  const document: Document = parseDocument(text ?? HEAD);
  for (const one of added.members) {
    const [name, address] = splitOnce(one);
    if (address === "")
      throw new OperationError("usage", `--members: found ${JSON.stringify(one)}, wanted NAME=ADDRESS`);
    const known = members.get(name);
    if (known !== undefined && toRecord(known).address !== address)
      throw new OperationError(
        "usage",
        `--members: ${name} has the address ${toRecord(known).address} already, and not ${address}; change it in ${CLUSTER_FILE}`,
      );
    if (known === undefined) document.setIn(["members", name], address);
    members.set(name, known ?? address);
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

/** @throws OperationError `invalid-settings` */
function readDocument(path: string, text: string): ReturnType<typeof readSingle<BootstrapDocument>> {
  const found = readSingle({ path, text }, parseBootstrap, "bootstrap");
  if (found.diagnostics.length === 0) return found;
  throw new OperationError("invalid-settings", found.diagnostics.map(diagnosticLine).join("\n"));
}

function toClusterFile(document: BootstrapDocument, report: Report): ClusterFile {
  const { members = {}, nodes = [], enrolled = [], leaders = [], operators = [], prefix = "ztap" } = document;
  const file = { members: toMembers(members, report), nodes, enrolled, leaders, operators, prefix };
  reportClashes(file, report);
  return file;
}

const toRecord = (member: BootstrapMember): Exclude<BootstrapMember, string> =>
  typeof member === "string" ? { address: member } : member;

function toMembers(members: Readonly<Record<string, BootstrapMember>>, report: Report): readonly EtcdMember[] {
  return Object.entries(members).flatMap(([name, found]) => {
    const path = ["members", name];
    const { address, listen = address, clientPort = 2379, peerPort = 2380 } = toRecord(found);
    if (!isLabel(name))
      report(
        path,
        `${JSON.stringify(name)} is no name of a member: wanted lower-case letters, digits and hyphens`,
        "key",
      );
    if (isIP(address) === 0 && !isObjectName(address))
      report(path, `${JSON.stringify(address)} is neither an IP address nor a DNS name`);
    else if (isIP(listen) === 0)
      report(
        path,
        `etcd listens on IP addresses alone, and that of ${name} is a name: add one, { address: ${address}, listen: 10.0.0.1 }`,
      );
    if (clientPort === peerPort) report(path, `clientPort and peerPort are both ${clientPort}; wanted two ports`);
    return [{ name, address, listen, clientPort, peerPort }];
  });
}

/** Two bearers of one name would be one user of etcd, with the rights of both. */
function reportClashes({ members, nodes, enrolled, leaders, operators }: ClusterFile, report: Report): void {
  const bearers = new Map<string, string>(RESERVED.map((name) => [name, "a name of the cluster's own"]));
  const claim = (path: Path, name: string, what: string): void => {
    const other = bearers.get(name);
    const anchor = path[0] === "members" ? "key" : "value";
    if (other !== undefined) report(path, `${name} is ${other}, and cannot be ${what} as well`, anchor);
    else bearers.set(name, what);
  };
  for (const { name } of members) claim(["members", name], name, "a member");
  for (const [at, name] of nodes.entries()) claim(["nodes", at], name, "one of the nodes");
  for (const [at, name] of enrolled.entries()) claim(["enrolled", at], name, "one of the enrolled nodes");
  for (const [at, name] of operators.entries()) claim(["operators", at], name, "an operator");
  const known = new Set([...nodes, ...enrolled]);
  for (const [at, name] of leaders.entries())
    if (!known.has(name)) report(["leaders", at], `${name} is not among the nodes`);
}

/** `NAME=ADDRESS`; an empty address if there is none. */
function splitOnce(text: string): readonly [string, string] {
  const at = text.indexOf("=");
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}
