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
  /** Its further addresses, likewise. */
  readonly otherAddresses: readonly string[];
  /** The IP addresses on which it listens, without brackets: etcd listens on no names. */
  readonly listen: readonly string[];
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
  /** `NAME=ADDRESS`, or `NAME=ADDRESS+ADDRESS…`. */
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
#     m3: { address: 10.0.0.3, otherAddresses: [192.168.0.3, 127.0.0.1] }    further addresses of its host
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
  const { file, problems } = examineText(path, text);
  if (problems.length > 0)
    throw new OperationError("invalid-settings", problems.map(({ at, message }) => `${at} ${message}`).join("\n"));
  return file;
}

/**
 * Adds to the file, and reads what comes of it.
 * @param text null: there is no file yet
 * @throws OperationError `invalid-settings` for what is wrong in the file; `usage` for what only the additions made wrong
 */
export function extendClusterFile(
  path: string,
  text: string | null,
  added: ClusterAdditions,
): { readonly text: string; readonly file: ClusterFile } {
  const extended = addToClusterFile(path, text, added);
  const { file, problems } = examineText(path, extended);
  if (problems.length === 0) return { text: extended, file };
  // Lines of a text that nobody has seen help nobody.
  if (text !== null) readClusterFile(path, text);
  throw new OperationError("usage", problems.map(({ message }) => message).join("\n"));
}

interface Problem {
  /** `file:line:column`. */
  readonly at: string;
  readonly message: string;
}

function examineText(
  path: string,
  text: string,
): { readonly file: ClusterFile; readonly problems: readonly Problem[] } {
  const { document, diagnostics, positionOf } = readSingle({ path, text }, parseBootstrap, "bootstrap");
  const problems = diagnostics.map((one): Problem => {
    const at = `${one.file}:${one.line}:${one.column}`;
    return { at, message: diagnosticLine(one).slice(at.length + 1) };
  });
  if (problems.length > 0) return { file: toClusterFile({}, () => undefined), problems };
  const file = toClusterFile(document ?? {}, (at, message, anchor = "value") => {
    const { line, column } = positionOf(at, anchor);
    problems.push({ at: `${path}:${line}:${column}`, message });
  });
  return { file, problems };
}

/**
 * Returns the file's text with the additions. Comments and order stay.
 * @param text null: there is no file yet
 * @throws OperationError `invalid-settings`; `usage` if a member has another address there, or two here
 */
function addToClusterFile(path: string, text: string | null, added: ClusterAdditions): string {
  const members = new Map(Object.entries(text === null ? {} : (readDocument(path, text).document?.members ?? {})));
  const document: Document = parseDocument(text ?? HEAD);
  for (const one of added.members) {
    const [name, address] = splitOnce(one);
    if (address === "")
      throw new OperationError("usage", `--members: found ${JSON.stringify(one)}, wanted NAME=ADDRESS`);
    const known = members.get(name);
    if (known !== undefined && addressesOf(known) !== address)
      throw new OperationError(
        "usage",
        `--members: ${name} has the address ${addressesOf(known)} already, and not ${address}${text === null ? "" : `; change it in ${CLUSTER_FILE}`}`,
      );
    const member = known ?? toMember(address);
    if (known === undefined) document.setIn(["members", name], document.createNode(member));
    members.set(name, member);
  }
  for (const list of LISTS) for (const name of added[list]) addToList(document, list, name);
  return isEmpty(added) && text !== null ? text : document.toString();
}

/** `ADDRESS+ADDRESS…` as the file has it. */
function toMember(addresses: string): BootstrapMember {
  const [address = "", ...otherAddresses] = addresses.split("+");
  return otherAddresses.length === 0 ? address : { address, otherAddresses };
}

function addressesOf(member: BootstrapMember): string {
  const { address, otherAddresses = [] } = toRecord(member);
  return [address, ...otherAddresses].join("+");
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
  if (prefix.startsWith("-")) report(["prefix"], `the prefix ${prefix} begins with -, as a flag of etcdctl does`);
  return file;
}

const toRecord = (member: BootstrapMember): Exclude<BootstrapMember, string> =>
  typeof member === "string" ? { address: member } : member;

/** An address with a zone (fe80::1%eth0) means something on one host alone. */
const isAddress = (text: string): boolean => isIP(text) !== 0 && !text.includes("%");

const isHost = (text: string): boolean => isAddress(text) || isObjectName(text);

function toMembers(members: Readonly<Record<string, BootstrapMember>>, report: Report): readonly EtcdMember[] {
  return Object.entries(members).flatMap(([name, found]) => {
    const path = ["members", name];
    const { address, otherAddresses = [], listen, clientPort = 2379, peerPort = 2380 } = toRecord(found);
    const addresses = [address, ...otherAddresses];
    const listening = listen === undefined ? addresses.filter(isAddress) : [listen];
    if (!isLabel(name))
      report(
        path,
        `${JSON.stringify(name)} is no name of a member: wanted lower-case letters, digits and hyphens`,
        "key",
      );
    const bad = addresses.filter((one) => !isHost(one));
    if (bad.length > 0)
      report(path, `${bad.map((one) => JSON.stringify(one)).join(", ")} is neither an IP address nor a DNS name`);
    else if (addresses.includes(ENROLMENT_NAME))
      report(path, `${ENROLMENT_NAME} is the name of the authority's server`);
    else if (listen?.includes("%") === true) report(path, `listen: ${JSON.stringify(listen)} is no IP address`);
    else if (listening.length === 0 || !listening.every(isAddress))
      report(
        path,
        `etcd listens on IP addresses alone, and that of ${name} is a name: add one, ${name}=${address}+10.0.0.1, or { address: ${address}, listen: 10.0.0.1 }`,
      );
    if (clientPort === peerPort) report(path, `clientPort and peerPort are both ${clientPort}; wanted two ports`);
    return [{ name, address, otherAddresses, listen: listening, clientPort, peerPort }];
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
  const places = new Map<string, string>();
  for (const { name, address, clientPort } of members) {
    const place = `${address}:${clientPort}`;
    const other = places.get(place);
    if (other !== undefined) report(["members", name], `${place} is the address of ${other} already`);
    places.set(place, name);
  }
  const known = new Set([...nodes, ...enrolled]);
  for (const [at, name] of leaders.entries())
    if (!known.has(name)) report(["leaders", at], `${name} is not among the nodes`);
}

/** `NAME=ADDRESS`; an empty address if there is none. */
function splitOnce(text: string): readonly [string, string] {
  const at = text.indexOf("=");
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}
