/** Peer keys: the keys that this node shares with other nodes, by their address (ztap_peers). */
import type { PeerKeys, PeerKeyTable } from "../../../interfaces/enforcer.js";
import { ABI, DAY_KEYS, PEER, PEER_KEY } from "../kernel/abi.generated.js";
import { kernel, type Native } from "../kernel/native.js";
import { parsePrefix } from "../lower/prefix.js";

const NS_PER_S = 1_000_000_000n;
/** How long keys stay valid that others replaced: as long as a node may take to hear of that. */
const REPLACED_NS = 600n * NS_PER_S;
/**
 * How long a peer's SYNs need no identity after its key became known: as long as it may take to hear of this node's key. A
 * SYN with a wrong identity counts as one without.
 */
const SETTLE_NS = 30n * NS_PER_S;

const KEY_BYTES = 16;

export class KernelPeerKeys implements PeerKeyTable {
  /** @param settle see SETTLE_NS */
  constructor(
    private readonly native: Native,
    private readonly fd: number,
    private readonly settle: bigint = SETTLE_NS,
  ) {}

  write(peers: readonly PeerKeys[], { areSettled = false }: { readonly areSettled?: boolean } = {}): void {
    const held = this.#read();
    const now = process.hrtime.bigint();
    const latest = now + (areSettled ? 0n : this.settle);
    const since = knownSince(held);
    const wanted = new Map(peers.map((one) => [keyOf(one.address), choose(one, held.get(keyOf(one.address)))]));
    // What is known at a start is a part of what was known before.
    const gone = areSettled ? [] : [...held.keys()].filter((key) => !wanted.has(key));
    const changed: [string, Buffer][] = [];
    for (const [key, current] of wanted) {
      const before = held.get(key);
      const verifyFrom = earliest(latest, before?.readBigUInt64LE(PEER.verifyFrom), since.get(nameOf(current)));
      const next =
        before === undefined
          ? encode(verifyFrom, 0n, current, Buffer.alloc(DAY_KEYS.size))
          : replace(before, current, { now, verifyFrom });
      if (before === undefined || !next.equals(before)) changed.push([key, next]);
    }
    kernel("Writing the keys of other nodes", () => {
      if (gone.length > 0) this.native.mapDelete(this.fd, Buffer.from(gone.join(""), "hex"));
      if (changed.length > 0)
        this.native.mapWrite(
          this.fd,
          Buffer.from(changed.map(([key]) => key).join(""), "hex"),
          Buffer.concat(changed.map(([, value]) => value)),
        );
    });
  }

  #read(): ReadonlyMap<string, Buffer> {
    const { count, keys, values } = kernel("Reading the keys of other nodes", () => this.native.mapRead(this.fd));
    const digits = keys.toString("hex");
    return new Map(
      Array.from({ length: count }, (_, at) => [
        digits.slice(at * PEER_KEY.size * 2, (at + 1) * PEER_KEY.size * 2),
        values.subarray(at * PEER.size, (at + 1) * PEER.size),
      ]),
    );
  }
}

/** Returns the keys of an address. If several nodes claim it, only those that it has already are valid. */
function choose({ days, others = [] }: PeerKeys, before: Buffer | undefined): Buffer {
  const [own, ...further] = [days, ...others].map(encodeDays);
  if (own !== undefined && further.length === 0) return own;
  const kept =
    before === undefined ? undefined : [own, ...further].find((one) => one && sharesADay(currentOf(before), one));
  return kept ?? Buffer.alloc(DAY_KEYS.size);
}

/** By keys: from when on SYNs must carry an identity. A further address of a known node gets no time of its own. */
function knownSince(held: ReadonlyMap<string, Buffer>): ReadonlyMap<string, bigint> {
  const since = new Map<string, bigint>();
  for (const value of held.values()) {
    const name = nameOf(currentOf(value));
    since.set(name, earliest(value.readBigUInt64LE(PEER.verifyFrom), since.get(name)));
  }
  return since;
}

/** Equal for equal keys. */
const nameOf = (current: Buffer): string => current.toString("base64");

function earliest(first: bigint, ...others: readonly (bigint | undefined)[]): bigint {
  return others.reduce<bigint>((least, one) => (one !== undefined && one < least ? one : least), first);
}

/** A later day with the same keys replaces nothing. */
function replace(
  before: Buffer,
  current: Buffer,
  { now, verifyFrom }: { readonly now: bigint; readonly verifyFrom: bigint },
): Buffer {
  const held = currentOf(before);
  if (!sharesADay(held, current)) return encode(verifyFrom, now + REPLACED_NS, current, held);
  const previous = before.subarray(PEER.previous, PEER.previous + DAY_KEYS.size);
  // No agent sets a time beyond this one.
  const until = before.readBigUInt64LE(PEER.previousUntil);
  return encode(verifyFrom, until > now + REPLACED_NS ? 0n : until, current, previous);
}

function sharesADay(a: Buffer, b: Buffer): boolean {
  return Array.from({ length: ABI.KEY_DAYS }, (_, at) => at).some((at) => {
    const [day, key] = [DAY_KEYS.day + at * 4, DAY_KEYS.key + at * KEY_BYTES];
    return (
      a.readUInt32LE(day) !== 0 &&
      a.readUInt32LE(day) === b.readUInt32LE(day) &&
      a.subarray(key, key + KEY_BYTES).equals(b.subarray(key, key + KEY_BYTES))
    );
  });
}

function currentOf(value: Buffer): Buffer {
  return value.subarray(PEER.current, PEER.current + DAY_KEYS.size);
}

function encode(verifyFrom: bigint, previousUntil: bigint, current: Buffer, previous: Buffer): Buffer {
  const value = Buffer.alloc(PEER.size);
  value.writeBigUInt64LE(verifyFrom, PEER.verifyFrom);
  value.writeBigUInt64LE(previousUntil, PEER.previousUntil);
  current.copy(value, PEER.current);
  previous.copy(value, PEER.previous);
  return value;
}

function encodeDays(days: PeerKeys["days"]): Buffer {
  const value = Buffer.alloc(DAY_KEYS.size);
  for (const [day, key] of days) {
    const at = day % ABI.KEY_DAYS;
    value.writeUInt32LE(day, DAY_KEYS.day + at * 4);
    key.copy(value, DAY_KEYS.key + at * KEY_BYTES, 0, KEY_BYTES);
  }
  return value;
}

function keyOf(address: string): string {
  const prefix = parsePrefix(address);
  const family = Buffer.alloc(4);
  family.writeUInt32LE(prefix.family === 6 ? ABI.FAMILY_IPV6 : ABI.FAMILY_IPV4);
  return prefix.address + family.toString("hex");
}
