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

  write(peers: readonly PeerKeys[]): void {
    const held = this.#read();
    const now = process.hrtime.bigint();
    const wanted = new Map(peers.map(({ address, days }) => [keyOf(address), encodeDays(days)]));
    const gone = [...held.keys()].filter((key) => !wanted.has(key));
    const changed: [string, Buffer][] = [];
    for (const [key, current] of wanted) {
      const before = held.get(key);
      if (before === undefined)
        changed.push([key, encode(now + this.settle, 0n, current, Buffer.alloc(DAY_KEYS.size))]);
      else if (!current.equals(currentOf(before))) changed.push([key, replace(before, current, now)]);
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

/** A later day with the same keys replaces nothing. */
function replace(before: Buffer, current: Buffer, now: bigint): Buffer {
  const verifyFrom = before.readBigUInt64LE(PEER.verifyFrom);
  const held = currentOf(before);
  if (sharesADay(held, current))
    return encode(
      verifyFrom,
      before.readBigUInt64LE(PEER.previousUntil),
      current,
      before.subarray(PEER.previous, PEER.previous + DAY_KEYS.size),
    );
  return encode(verifyFrom, now + REPLACED_NS, current, held);
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
