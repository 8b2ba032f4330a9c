/**
 * Traffic: random packets, most of them near a border of the ruleset or about an earlier packet: its
 * answer, a forged answer, an error that quotes it, itself again after a while.
 */
import { ABI } from "../../src/adapters/ebpf/kernel/abi.generated.js";
import type { Direction } from "../../src/model/ruleset.js";
import { OWN, WORKLOADS } from "./generate.js";
import { icmp, packet, tcp, udp, type PacketSpec } from "./packets.js";
import { anyHost, type Borders, type Dice, type Family } from "./pool.js";
import type { Step } from "./reference.js";
import { ETHERNET, ICMP, ICMP6, SCTP, TCP, UDP } from "./wire.js";

/** What a packet was made from, so that others can be made about it. */
interface Made {
  readonly workload: string;
  readonly direction: Direction;
  readonly local: string;
  readonly remote: string;
  readonly protocol: number;
  /** Local and remote port; for ICMP the type with code, and the identifier. */
  readonly ports: readonly [local: number, remote: number];
  readonly around: Omit<PacketSpec, "from" | "to" | "protocol" | "payload">;
}

const OPPOSITE = { ingress: "egress", egress: "ingress" } as const;
/** Around every idle time, and within it. */
const PAUSES = [ABI.FLOW_NEW_TICKS, ABI.FLOW_ANSWERED_TICKS, ABI.FLOW_SCTP_TICKS].flatMap((ticks) => [
  ticks >> 1,
  ticks - 1,
  ticks,
  ticks + 1,
]);
const ODD_PROTOCOLS = [0, 2, 4, 41, 43, 44, 47, 50, 51, 59, 60, 89, 103, 135, 136, 255] as const;

export class Traffic {
  readonly #dice: Dice;
  readonly #made: Made[] = [];
  #borders: Borders;
  #now: number;

  constructor(dice: Dice, borders: Borders, now: number) {
    this.#dice = dice;
    this.#borders = borders;
    this.#now = now;
  }

  /** Another ruleset came into force. */
  turnTo(borders: Borders): void {
    this.#borders = borders;
  }

  next(): Step {
    const dice = this.#dice;
    if (dice.chance(6)) this.#now += dice.pick(PAUSES);
    const earlier = this.#made.length === 0 ? null : dice.pick(this.#made.slice(-12));
    const kind = dice.weighted<"fresh" | "again" | "answer" | "forged" | "error">([
      [44, "fresh"],
      [8, "again"],
      [22, "answer"],
      [14, "forged"],
      [12, "error"],
    ]);
    if (earlier === null || kind === "fresh") return this.#emit(this.#fresh());
    switch (kind) {
      case "again":
        return this.#emit(earlier);
      case "answer":
        return this.#emit(this.#answer(earlier));
      case "forged":
        return this.#emit(this.#forge(dice.chance(70) ? this.#answer(earlier) : earlier));
      case "error":
        return this.#error(earlier);
    }
  }

  #fresh(): Made {
    const dice = this.#dice;
    const at = dice.below(WORKLOADS.length);
    const family = dice.pick([4, 6] as const);
    // Now and then a false source: another workload's address, or none of the machine.
    const own = dice.chance(90)
      ? (OWN[family][at] ?? "")
      : dice.chance(60)
        ? dice.pick(OWN[family])
        : anyHost(dice, family);
    const protocol = dice.weighted<number>([
      [22, TCP],
      [36, UDP],
      [10, SCTP],
      [20, family === 4 ? ICMP : ICMP6],
      [2, family === 4 ? ICMP6 : ICMP],
      [10, dice.pick(ODD_PROTOCOLS)],
    ]);
    return {
      workload: WORKLOADS[at] ?? "",
      direction: dice.pick(["ingress", "egress"]),
      local: dice.chance(92) ? own : anyHost(dice, family),
      remote: this.#remote(family, own),
      protocol,
      ports: protocol === ICMP || protocol === ICMP6 ? this.#message(protocol) : [this.#port(), this.#port()],
      around: this.#around(family, protocol),
    };
  }

  #remote(family: Family, own: string): string {
    const dice = this.#dice;
    if (dice.chance(4)) return own;
    if (dice.chance(4)) return family === 4 ? "127.0.0.1" : "::1";
    return dice.chance(85) ? dice.pick(this.#borders.hosts[family]) : anyHost(dice, family);
  }

  #port(): number {
    return this.#dice.chance(90) ? this.#dice.pick(this.#borders.ports) : this.#dice.below(65536);
  }

  #message(protocol: number): readonly [message: number, identifier: number] {
    const dice = this.#dice;
    const [request, reply] = protocol === ICMP ? [8, 0] : [128, 129];
    const type = dice.weighted<number>([
      [10, request],
      [4, reply],
      [3, dice.pick(protocol === ICMP ? [3, 4, 5, 11, 12, 13] : [1, 2, 3, 4, 137, 138])],
      [3, dice.between(130, 143)],
      [2, dice.below(256)],
    ]);
    return [(type << 8) | (dice.chance(75) ? 0 : dice.below(4)), dice.below(4)];
  }

  #around(family: Family, protocol: number): Made["around"] {
    const dice = this.#dice;
    const hopLimit = protocol === ICMP6 ? dice.pick([255, 255, 254, 1, 1, 64]) : 64;
    const isFragment = dice.chance(8);
    const offset = dice.chance(50) ? 0 : dice.between(1, 8191);
    if (family === 4)
      return {
        hopLimit,
        ...(dice.chance(12) ? { options: dice.between(1, 10) * 4 } : {}),
        ...(isFragment ? { fragment: offset | (dice.chance(50) ? 0x2000 : 0) } : {}),
      };
    const chain = dice.chance(20) ? dice.some(10, () => dice.pick([0, 43, 60])) : [];
    const at = dice.below(chain.length + 1);
    const extensions = isFragment ? [...chain.slice(0, at), 44, ...chain.slice(at)] : chain;
    return { hopLimit, fragment: offset, extensions, padding: dice.chance(80) ? 0 : dice.below(4) };
  }

  #answer(made: Made): Made {
    const { direction, protocol, ports } = made;
    const [message, identifier] = ports;
    const isEcho = (protocol === ICMP || protocol === ICMP6) && this.#dice.chance(85);
    const reply = message === 0x0800 ? 0 : message === 0x8000 ? 0x8100 : message;
    return { ...made, direction: OPPOSITE[direction], ports: isEcho ? [reply, identifier] : ports };
  }

  /** One thing differs. */
  #forge(made: Made): Made {
    const dice = this.#dice;
    const family = made.local.includes(":") ? 6 : 4;
    const [local, remote] = made.ports;
    switch (dice.below(6)) {
      case 0:
        return { ...made, ports: [local, (remote + dice.pick([1, 65535])) & 0xffff] };
      case 1:
        return { ...made, ports: [(local + dice.pick([1, 65535])) & 0xffff, remote] };
      case 2:
        return { ...made, remote: anyHost(dice, family) };
      case 3:
        return { ...made, local: dice.pick(OWN[family]) };
      case 4:
        return { ...made, workload: dice.pick(WORKLOADS) };
      default:
        return { ...made, protocol: dice.pick([UDP, SCTP, TCP, 136, 47]) };
    }
  }

  /** About an earlier packet, from the other end or from a router on the way. */
  #error(about: Made): Step {
    const dice = this.#dice;
    const family = about.local.includes(":") ? 6 : 4;
    const bytes = this.#frame(dice.chance(85) ? about : this.#forge(about)).subarray(ETHERNET);
    const quoted = dice.chance(75) ? bytes : bytes.subarray(0, dice.below(bytes.length + 1));
    const type = dice.pick(family === 4 ? [3, 3, 11, 12, 4, 5] : [1, 2, 2, 3, 4, 137]);
    const [message] = [icmp(type, dice.below(5))];
    const direction = dice.chance(90) ? OPPOSITE[about.direction] : about.direction;
    const remote = dice.chance(direction === "ingress" ? 50 : 85) ? about.remote : anyHost(dice, family);
    const local = dice.chance(90) ? about.local : anyHost(dice, family);
    const spec = {
      ...(direction === "egress" ? { from: local, to: remote } : { from: remote, to: local }),
      protocol: family === 4 ? ICMP : ICMP6,
      payload: Buffer.concat([message, quoted]),
      ...(dice.chance(90) ? {} : this.#around(family, ICMP)),
    };
    const workload = dice.chance(92) ? about.workload : dice.pick(WORKLOADS);
    return { workload, direction, frame: this.#spoil(packet(spec)), now: this.#now };
  }

  #emit(made: Made): Step {
    this.#made.push(made);
    const { workload, direction } = made;
    return { workload, direction, frame: this.#spoil(this.#frame(made)), now: this.#now };
  }

  #frame({ direction, local, remote, protocol, ports: [first, second], around }: Made): Buffer {
    const isEgress = direction === "egress";
    const [from, to] = isEgress ? [first, second] : [second, first];
    const isIcmp = protocol === ICMP || protocol === ICMP6;
    const flags = this.#dice.pick([0x02, 0x12, 0x10, 0x04, 0x11, 0, 0xff]);
    const payload = isIcmp
      ? icmp(first >> 8, first & 255, second)
      : protocol === TCP
        ? tcp(from, to, flags)
        : udp(from, to);
    return packet({ from: isEgress ? local : remote, to: isEgress ? remote : local, protocol, payload, ...around });
  }

  /** What no honest sender makes. */
  #spoil(frame: Buffer): Buffer {
    const dice = this.#dice;
    if (!dice.chance(7)) return frame;
    const spoilt = Buffer.from(frame);
    switch (dice.below(4)) {
      case 0:
        return spoilt.subarray(0, dice.between(shortest(spoilt), spoilt.length));
      case 1:
        spoilt.writeUInt8(dice.below(256), ETHERNET);
        return spoilt;
      case 2:
        spoilt.writeUInt8(dice.below(256), dice.between(ETHERNET, spoilt.length - 1));
        return spoilt;
      default:
        spoilt.writeUInt16BE(dice.pick([0x0806, 0x86dd, 0x0800, 0x8100]), 12);
        return spoilt.length < shortest(spoilt) ? frame : spoilt;
    }
  }
}

/** The kernel refuses a test run on a frame without a whole IP header; none reaches a socket either. */
function shortest(frame: Buffer): number {
  const type = frame.readUInt16BE(12);
  return ETHERNET + (type === 0x0800 ? 20 : type === 0x86dd ? 40 : 0);
}
