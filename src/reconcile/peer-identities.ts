/**
 * Peer identities: the keys that this node shares with the other nodes, from its own key pair and the public keys that they
 * report or that Git pins, for the addresses at which they and their workloads stand.
 */
import { hkdfSync } from "node:crypto";
import type { Enforcer, PeerKeys } from "../interfaces/enforcer.js";
import type { NodeKey } from "../interfaces/node-key.js";
import type { Clock, Logger } from "../interfaces/system.js";
import type { Node } from "../model/objects.js";
import type { ObjectSet } from "../model/state.js";
import { hasSynIdentity } from "../policy/compile/modes.js";
import { nodesByAddress } from "../inventory/shared-addresses.js";
import type { Resolution } from "../inventory/resolve.js";

/** A state as Git declares it, and what the reports of nodes make of it. */
export interface KnownNodes {
  readonly objects: ObjectSet;
  readonly resolution: Resolution;
}

export interface PeerIdentitiesDeps {
  readonly enforcer: Pick<Enforcer, "backend" | "peerKeys">;
  /** Opens this node's key pair; called once, and only if the state asks for identities. */
  readonly openNodeKey: () => NodeKey;
  readonly clock: Clock;
  readonly logger: Logger;
}

const DAY_MS = 86_400_000;
/** Days for which keys are derived: those of a node whose agent is stopped for so long still work. */
const DAYS_BEFORE = 1;
const DAYS_AHEAD = 29;
const KEY_BYTES = 16;

export class PeerIdentities {
  #key: NodeKey | null = null;
  readonly #secrets = new Map<string, Buffer | null>();
  #derived: { readonly day: number; readonly keys: Map<string, PeerKeys["days"]> } | null = null;
  #problems = "";
  #keyProblem: string | null = null;

  constructor(
    private readonly deps: PeerIdentitiesDeps,
    private readonly node: string,
  ) {}

  /** Returns what this node reports to the others; null if the state asks for no identities, or this backend has none. */
  publicKey(objects: ObjectSet | null): string | null {
    if (objects === null || !hasSynIdentity(objects)) return null;
    if (this.deps.enforcer.peerKeys === null) {
      this.#tell([
        `the backend ${this.deps.enforcer.backend} cannot prove who sends: other nodes see this one's address`,
      ]);
      return null;
    }
    return this.#ownKey()?.publicKey ?? null;
  }

  /** Why this node cannot prove who sends; null if it can, or need not. */
  get problem(): string | null {
    return this.#keyProblem;
  }

  /**
   * Writes the keys of all other nodes to the kernel; none if the state asks for no identities. Those there stay where this node's
   * key pair cannot be read.
   * @param how `areSettled`: the keys were in force before, so that no node needs time to hear of them
   * @throws EnforcerError
   */
  use(known: KnownNodes | null, { areSettled = false }: { readonly areSettled?: boolean } = {}): void {
    const table = this.deps.enforcer.peerKeys;
    if (table === null || known === null) return;
    const peers = hasSynIdentity(known.objects) ? this.#peersOf(known) : [];
    if (peers !== null) table.write(peers, { areSettled });
  }

  /** A key pair that cannot be read is told once, and keeps the node from nothing else. */
  #ownKey(): NodeKey | null {
    if (this.#key !== null) return this.#key;
    try {
      this.#key = this.deps.openNodeKey();
      this.#keyProblem = null;
      this.deps.logger.info("this node proves who sends", { publicKey: this.#key.publicKey });
      return this.#key;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      if (why !== this.#keyProblem) this.deps.logger.warn(`this node cannot prove who sends: ${why}`);
      this.#keyProblem = why;
      return null;
    }
  }

  #peersOf({ objects, resolution }: KnownNodes): readonly PeerKeys[] | null {
    const own = this.#ownKey();
    if (own === null) return null;
    const problems: string[] = [];
    const keys = this.#publicKeys({ objects, resolution }, own, problems);
    const peers: PeerKeys[] = [];
    for (const [address, nodes] of nodesByAddress(objects, resolution)) {
      const candidates: PeerKeys["days"][] = [];
      for (const node of nodes) {
        const key = keys.get(node);
        const days = key === undefined ? null : this.#daysOf(own, key);
        if (days !== null) candidates.push(days);
        else if (key !== undefined) problems.push(`the public key of node ${node} cannot be used`);
      }
      const [days, ...others] = candidates;
      if (days !== undefined) peers.push(others.length === 0 ? { address, days } : { address, days, others });
      if (others.length > 0)
        problems.push(
          `${address} is an address of ${[...nodes].join(" and ")}: only the key that was there first counts`,
        );
    }
    this.#tell(problems);
    this.#forgetOthers(new Set(keys.values()));
    return peers;
  }

  /** A node may report another key each time. */
  #forgetOthers(inUse: ReadonlySet<string>): void {
    for (const known of [this.#secrets, this.#derived?.keys ?? new Map<string, never>()])
      for (const key of known.keys()) if (!inUse.has(key)) known.delete(key);
  }

  /** By node: the key that Git pins, otherwise the one that the node reports. */
  #publicKeys({ objects, resolution }: KnownNodes, own: NodeKey, problems: string[]): ReadonlyMap<string, string> {
    const keys = new Map<string, string>();
    for (const { name, publicKey } of resolution.nodes) if (publicKey !== null) keys.set(name, publicKey);
    keys.set(this.node, own.publicKey);
    for (const { metadata, spec } of nodesOf(objects)) {
      const pinned = spec.publicKey;
      if (pinned === undefined) continue;
      const reported = keys.get(metadata.name);
      if (reported !== undefined && reported !== pinned)
        problems.push(`Git pins another public key for node ${metadata.name} than the one that it has`);
      if (metadata.name !== this.node) keys.set(metadata.name, pinned);
    }
    return keys;
  }

  #daysOf(own: NodeKey, publicKey: string): PeerKeys["days"] | null {
    if (!this.#secrets.has(publicKey)) this.#secrets.set(publicKey, own.agree(publicKey));
    const secret = this.#secrets.get(publicKey) ?? null;
    if (secret === null) return null;
    const today = Math.floor(this.deps.clock.now() / DAY_MS);
    if (this.#derived?.day !== today) this.#derived = { day: today, keys: new Map() };
    const known = this.#derived.keys.get(publicKey) ?? deriveDays(secret, today);
    this.#derived.keys.set(publicKey, known);
    return known;
  }

  /** Each problem once, until it is another one. */
  #tell(problems: readonly string[]): void {
    const text = [...new Set(problems)].join("; ");
    if (text !== "" && text !== this.#problems) this.deps.logger.warn(text);
    this.#problems = text;
  }
}

function deriveDays(secret: Buffer, today: number): PeerKeys["days"] {
  const days = new Map<number, Buffer>();
  for (let day = today - DAYS_BEFORE; day <= today + DAYS_AHEAD; day++)
    days.set(day, Buffer.from(hkdfSync("sha256", secret, Buffer.alloc(0), `ztap syn ${day}`, KEY_BYTES)));
  return days;
}

function nodesOf(objects: ObjectSet): readonly Node[] {
  return [...objects.values()].flatMap(({ object }) => (object.kind === "Node" ? [object] : []));
}
