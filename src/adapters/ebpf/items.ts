/**
 * Items: turns an image, or the state read from the kernel, into the keyed values that the follower compares.
 *
 * A ruleset may have a hundred thousand entries, and their labels are rarely read, so that they are built on demand.
 */
import type { Rule } from "../../model/ruleset.js";
import type { EnforcementItem, ItemSet } from "../../interfaces/enforcer.js";
import { ABI } from "./kernel/abi.generated.js";
import { formatPrefix } from "./lower/prefix.js";
import {
  allSubjects,
  type Image,
  type ImageSubject,
  type ImageTemplate,
  type MapEntries,
  type SubjectRecord,
} from "./lower/image.js";
import { cgroupParts, isNameable } from "./kernel/paths.js";
import { patternText } from "./lower/capacity.js";
import { hasWildcard } from "../../inventory/glob.js";
import type { Hook } from "./kernel/native.js";
import { GUARDS, HOOKS, MAPS, ROOT_HOOKS, SECURITY, TRACEPOINTS } from "./kernel/programs.js";

export type TableName = "addr" | "port" | "sender";

/**
 * Adds the table entries.
 * @param names the image that gives names to the ids; unknown entries are named by their bytes
 */
export function addTableItems(
  items: Map<string, EnforcementItem>,
  name: TableName,
  table: MapEntries,
  names: Image,
): void {
  for (const [key, value] of table) {
    const item = new ITEMS[name](`${name}/${key}`, value, key, names);
    items.set(item.key, item);
  }
}

export function imageItems(image: Image): ItemSet {
  const items = new Map<string, EnforcementItem>();
  addItem(items, controlItem(ABI.VERSION));
  for (const name of MAPS) addItem(items, pinItem(name));
  addItem(items, exportItem());
  if (isEnforced(image))
    for (const pin of [...GUARDS, ...ROOT_HOOKS, ...TRACEPOINTS]) addItem(items, guardItem(pin, ATTACHED));
  for (const [workload, { subject, id, record }] of image.subjects) {
    addItem(items, subjectItem(workload, subjectValue(id, record), subject));
    for (const hook of HOOKS) addItem(items, linkItem(workload, hook, ATTACHED, subject));
  }
  for (const [workload, { subject, id, record }] of namedSubjects(image))
    addItem(items, newbornItem(workload, subjectValue(id, record), subject));
  for (const [workload, template] of image.templates)
    addItem(items, patternItem(workload, patternValue(template, subjectValue(template.id, template.record)), template));
  for (const [workload, { confinement }] of allSubjects(image))
    if (confinement !== 0) addItem(items, confinementItem(workload, confinement));
  addTableItems(items, "addr", image.addrs, image);
  addTableItems(items, "port", image.ports, image);
  addTableItems(items, "sender", image.identities, image);
  for (const [workload, { identity }] of allSubjects(image))
    if (identity !== 0) addItem(items, identityItem(workload, identity));
  return items;
}

export function addItem(items: Map<string, EnforcementItem>, item: EnforcementItem): void {
  items.set(item.key, item);
}

export function controlItem(abi: number): EnforcementItem {
  return { key: "control/abi", value: String(abi), type: "entry", label: "version of the kernel tables" };
}

export function pinItem(name: string): EnforcementItem {
  return { key: `pin/${name}`, value: "pinned", type: "entry", label: `pin of the map ${name}` };
}

export function exportItem(): EnforcementItem {
  return {
    key: "pin/give/flows",
    value: "pinned",
    type: "entry",
    label: "pin of the iterator that exports flows to another version",
  };
}

/** Returns the item of one of the programs that enforce newborn cgroups. */
export function guardItem(pin: string, value: string): EnforcementItem {
  return { key: `newborn/${pin}`, value, type: "link", label: `${pin} program for newborn cgroups` };
}

/** Returns whether it is the item of a network interface. */
export function isInterfaceItem({ key }: EnforcementItem): boolean {
  return key.startsWith("interface/");
}

/**
 * Returns the item of the programs at a network interface.
 * @param inode of the network namespace
 * @param process one in the namespace, if that is not the agent's
 */
export function interfaceItem(inode: number, name: string, process: number | null): EnforcementItem {
  const where = process === null ? "" : ` of the network namespace of process ${process}`;
  return {
    key: `interface/${inode}/${name}`,
    value: ATTACHED,
    type: "link",
    label: `programs at the interface ${name}${where}`,
  };
}

/** Returns the items of the programs at security functions, as far as the kernel takes them. */
export function securityItems(image: Image, programs: Readonly<Record<string, number>>): ItemSet {
  const items = new Map<string, EnforcementItem>();
  if (!isEnforced(image)) return items;
  for (const pin of SECURITY) if (programs[`ztap_${pin}`] !== undefined) addItem(items, guardItem(pin, ATTACHED));
  return items;
}

/** Returns whether a ruleset needs any program. */
export function isEnforced({ subjects, templates }: Image): boolean {
  return subjects.size > 0 || templates.size > 0;
}

/** Returns the subjects whose newborn cgroups get a record: of several with one path, the first. */
export function namedSubjects(image: Image): ReadonlyMap<string, ImageSubject> {
  const byPath = new Map<string, readonly [string, ImageSubject]>();
  for (const [workload, subject] of image.subjects) {
    if (subject.subject.isHost === true) continue;
    const path = subject.subject.cgroup ?? "";
    const key = cgroupParts(path).join("/");
    if (isNameable(path) && !byPath.has(key) && !isBornByPattern(image, subject)) byPath.set(key, [workload, subject]);
  }
  return new Map(byPath.values());
}

/** Another cgroup of its path is born by the pattern, also when nothing runs there any more. */
function isBornByPattern({ templates }: Image, { subject }: ImageSubject): boolean {
  const pattern = templates.get(subject.template ?? "")?.pattern;
  return pattern !== undefined && pattern !== null && hasWildcard(patternText(pattern));
}

/** Returns the item of what newborn cgroups get that match a pattern. */
export function patternItem(workload: string, value: string, { subject, pattern }: ImageTemplate): EnforcementItem {
  const policies = [...new Set([...subject.ingress.policies, ...subject.egress.policies])];
  const label =
    pattern === null
      ? "isolation of newborn containers"
      : `isolation of newborn cgroups ${patternText(pattern)} of ${workload}`;
  return { key: `newborn/${workload}`, value, type: "entry", label, policies };
}

/**
 * Returns the item of what a newborn cgroup of the workload gets. It is compared whether or not the workload has a cgroup
 * now.
 */
export function newbornItem(workload: string, value: string, subject: ImageSubject["subject"]): EnforcementItem {
  const policies = [...new Set([...subject.ingress.policies, ...subject.egress.policies])];
  const label = `isolation of newborn cgroups of ${workload}`;
  return { key: `newborn/${workload}`, value, type: "entry", label, policies };
}

/** Returns the value of a pattern's item. */
export function patternValue({ pattern }: Pick<ImageTemplate, "pattern">, record: string): string {
  return `${pattern === null ? "" : `${"cgroup" in pattern ? "path" : "unit"} ${patternText(pattern)} `}${record}`;
}

/** Returns the item of what a workload may not use beside packets. It is compared whether or not it has a cgroup now. */
export function confinementItem(workload: string, bits: number): EnforcementItem {
  return { key: `confinement/${workload}`, value: String(bits), type: "entry", label: `confinement of ${workload}` };
}

/** Returns the item of what a workload says of itself in its SYNs. It is compared whether or not it has a cgroup now. */
export function identityItem(workload: string, identity: number): EnforcementItem {
  return { key: `identity/${workload}`, value: identity.toString(16), type: "entry", label: `identity of ${workload}` };
}

/** Returns the item of a version that this one has to take over from, or to remove. */
export function versionItem(name: string, abi: number): EnforcementItem {
  const label = `left-over pins of ABI version ${abi} of the kernel tables`;
  return { key: `version/${name}`, value: "pinned", type: "entry", label };
}

/** The value of a link that is attached to the workload's own cgroup with the program of this build. */
export const ATTACHED = "attached";

export function linkItem(
  workload: string,
  hook: Hook,
  value: string,
  subject?: ImageSubject["subject"],
): EnforcementItem {
  const policies = subject === undefined ? undefined : policiesOf(subject, hook);
  return {
    key: `link/${workload}/${hook}`,
    value,
    type: "link",
    label: `${hook} program on ${workload}`,
    workload,
    ...(policies && { policies }),
  };
}

/** Returns the item of an unneeded attachment: of a former workload, or beside the one in force. */
export function leftoverItem(workload: string, pin: string, hook: string): EnforcementItem {
  const label = `${hook === pin ? "" : "left-over "}${hook} program on ${workload}`;
  return { key: `link/${workload}/${pin}`, value: ATTACHED, type: "link", label, workload };
}

/** The same, for another version. */
export function previousVersionItem(workload: string, pin: string, version: string, abi: number): EnforcementItem {
  const label = `program of ABI version ${abi} at ${pin} on ${workload}`;
  return { key: `link/${workload}/${version}/${pin}`, value: ATTACHED, type: "link", label, workload };
}

export function subjectItem(workload: string, value: string, subject: ImageSubject["subject"]): EnforcementItem {
  const policies = [...new Set([...subject.ingress.policies, ...subject.egress.policies])];
  return { key: `subject/${workload}`, value, type: "entry", label: `isolation of ${workload}`, workload, policies };
}

function policiesOf(subject: ImageSubject["subject"], hook: Hook): readonly string[] {
  return hook === "ingress" ? subject.ingress.policies : subject.egress.policies;
}

const MODE_NAMES = ["unset", "open", "enforce", "audit"];

export function subjectValue(id: number, record: SubjectRecord): string {
  const half = (mode: number, profile: number): string =>
    mode === ABI.MODE_OPEN ? "open" : `${MODE_NAMES[mode] ?? mode}:${profile.toString(16)}`;
  const ingress = half(record.ingressMode, record.ingressProfile);
  const egress = half(record.egressMode, record.egressProfile);
  const identity = record.identityProfile === 0 ? "" : ` identity=${record.identityProfile.toString(16)}`;
  const override = record.override === null ? "" : ` ${record.override.kind}=${record.override.until}`;
  return `id=${id.toString(16)} ingress=${ingress} egress=${egress}${identity}${record.asksIdentity ? " asks" : ""}${override}`;
}

abstract class TableItem implements EnforcementItem {
  readonly type = "entry";
  constructor(
    readonly key: string,
    readonly number: number,
    protected readonly bytes: string,
    protected readonly names: Image,
  ) {}
  get value(): string {
    return this.number.toString(16);
  }
  abstract get label(): string;
  abstract get policies(): readonly string[] | undefined;

  protected u32(at: number): number {
    return Buffer.from(this.bytes.slice(at * 2, at * 2 + 8), "hex").readUInt32LE();
  }
}

class AddrItem extends TableItem {
  get label(): string {
    const scope = this.u32(4);
    const length = this.u32(0) - ABI.ADDR_SCOPE_BITS;
    const peer = formatPrefix({ family: scope & 1 ? 6 : 4, address: this.bytes.slice(16), length });
    const id = (scope & ~1) >>> 0;
    if (id === ABI.SCOPE_NODE) return `address ${peer} of a workload of this node`;
    const owner = [...allSubjects(this.names)].find(([, subject]) => subject.id === id);
    if (owner !== undefined) return `own address ${peer} of ${owner[0]}`;
    const profile = this.names.profiles.get(id);
    return `peer ${peer} of ${profile?.key ?? `unknown profile ${scope.toString(16)}`}`;
  }
  get policies(): readonly string[] | undefined {
    const profile = this.names.profiles.get((this.u32(4) & ~1) >>> 0);
    if (profile === undefined) return undefined;
    const found = this.names.classes.get(this.number);
    const rules =
      found?.profile === profile
        ? found.clauses.map((clause) => profile.rules[profile.clauses[clause]?.rule ?? -1])
        : profile.rules;
    return [
      ...new Set(rules.flatMap((rule) => (rule === undefined ? [] : [`${rule.policy.namespace}/${rule.policy.name}`]))),
    ];
  }
}

class SenderItem extends TableItem {
  get label(): string {
    const identity = this.u32(8);
    const family = this.u32(12) === ABI.FAMILY_IPV6 ? 6 : 4;
    const peer = formatPrefix({ family, address: this.bytes.slice(32), length: family === 6 ? 128 : 32 });
    const who = identity === 0 ? "a sender without an identity" : `the sender ${identity.toString(16)}`;
    return `${who} at ${peer} of ${this.names.profiles.get(this.u32(4))?.key ?? "an unknown profile"}`;
  }
  get policies(): readonly string[] | undefined {
    const profile = this.names.profiles.get(this.u32(4));
    const rules = profile?.rules.map(({ policy }) => `${policy.namespace}/${policy.name}`);
    return rules === undefined ? undefined : [...new Set(rules)];
  }
}

/** Returns the rule's place in its policy, which is more helpful than its key. */
function nameOf({ policy, direction, index }: Rule): string {
  return `${policy.namespace}/${policy.name}/${direction}/${index}`;
}

class PortItem extends TableItem {
  get label(): string {
    const bits = this.u32(0);
    const tail = Buffer.from(this.bytes.slice(18), "hex");
    const protocol = bits === ABI.PORT_ANY_BITS ? "any protocol" : `protocol ${tail.readUInt8(0)}`;
    const first = tail.readUInt16BE(1);
    const last = first + (1 << (ABI.PORT_FULL_BITS - bits)) - 1;
    const rule = this.#rule();
    const ports = bits <= ABI.PORT_PROTOCOL_BITS ? "" : first === last ? ` port ${first}` : ` ports ${first}-${last}`;
    const verb = this.number & ABI.RULE_DENIES ? "denied by" : "of";
    return `${protocol}${ports} ${verb} ${rule === undefined ? this.#otherName() : nameOf(rule)}`;
  }

  #rule(): Rule | undefined {
    return this.names.rules.get((this.number & ~ABI.RULE_DENIES) >>> 0);
  }

  #otherName(): string {
    const isIdentity = (this.number & ~ABI.RULE_DENIES) >>> 0 === ABI.RULE_NONE;
    return isIdentity ? "an identity profile" : `unknown rule ${this.value}`;
  }

  get policies(): readonly string[] | undefined {
    const rule = this.#rule();
    return rule === undefined ? undefined : [`${rule.policy.namespace}/${rule.policy.name}`];
  }
}

const ITEMS = { addr: AddrItem, port: PortItem, sender: SenderItem } as const;
