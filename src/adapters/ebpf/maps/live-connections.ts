/** Live connections: the TCP connections and the flows of workloads that stand now, as the first packet of each was. */
import { addressFromBytes } from "../../../model/ip.js";
import type { Direction } from "../../../model/ruleset.js";
import { ABI, CONNECTION, EXPORTED_FLOW } from "../kernel/abi.generated.js";
import { mapOf, runIterator } from "../kernel/load.js";
import type { LoadedObject, Native } from "../kernel/native.js";
import { EXPORT_FLOWS, LIST_CONNECTIONS } from "../kernel/programs.js";

const TCP = 6;
const SCTP = 132;

/** One connection or flow. */
export interface LiveConnection {
  readonly subject: number;
  readonly peer: string;
  /** It is between two sockets of this machine at one address. */
  readonly isToItself: boolean;
  /** IP protocol number. */
  readonly protocol: number;
  /** As who asked, with the port that policy is evaluated for. Two: either is enough. */
  readonly asked: readonly { readonly direction: Direction; readonly port: number }[];
}

export class LiveConnections {
  constructor(
    private readonly native: Native,
    private readonly object: LoadedObject,
  ) {}

  /** @throws EnforcerError */
  async list(): Promise<readonly LiveConnection[]> {
    return [...(await this.#connections()), ...(await this.#flows())];
  }

  async #connections(): Promise<readonly LiveConnection[]> {
    const records = await this.#read(LIST_CONNECTIONS, "ztap_socks");
    return split(records, CONNECTION.size).map((record) => {
      const role = record.readUInt8(CONNECTION.role);
      const egress = { direction: "egress", port: record.readUInt16BE(CONNECTION.beRemotePort) } as const;
      const ingress = { direction: "ingress", port: record.readUInt16LE(CONNECTION.localPort) } as const;
      return {
        subject: record.readUInt32LE(CONNECTION.subject),
        ...endsOf(record, record.readUInt8(CONNECTION.family), CONNECTION),
        protocol: TCP,
        asked: role === ABI.ROLE_INITIATOR ? [egress] : role === ABI.ROLE_ACCEPTOR ? [ingress] : [egress, ingress],
      };
    });
  }

  async #flows(): Promise<readonly LiveConnection[]> {
    const records = await this.#read(EXPORT_FLOWS, "ztap_flows");
    const now = process.hrtime.bigint() >> BigInt(ABI.TICK_SHIFT);
    return split(records, EXPORTED_FLOW.size).flatMap((record) => {
      const protocol = record.readUInt8(EXPORTED_FLOW.protocol);
      const asked = [ABI.INGRESS, ABI.EGRESS].flatMap((half) => {
        const seen = record.readBigUInt64LE(EXPORTED_FLOW.seen + half * 8) >> BigInt(ABI.TICK_SHIFT);
        const isAnswered = record.readUInt8(EXPORTED_FLOW.answered + half) !== 0;
        const hasAsked = record.readUInt8(EXPORTED_FLOW.asked + half) !== 0;
        if (!hasAsked || now - seen > lifetime(protocol, isAnswered)) return [];
        return { direction: directionOf(half), port: record.readUInt16LE(EXPORTED_FLOW.port + half * 2) };
      });
      const ends = endsOf(record, record.readUInt8(EXPORTED_FLOW.family), EXPORTED_FLOW);
      const subject = record.readUInt32LE(EXPORTED_FLOW.subject);
      // Of a flow with two halves, each passes as the answer to the other one, too.
      return asked.length === 0 ? [] : [{ subject, ...ends, protocol, asked }];
    });
  }

  #read(program: string, map: string): Promise<Buffer> {
    const { native, object } = this;
    return runIterator(native, object, program, "Listing what stands", mapOf(object, map));
  }
}

function directionOf(half: number): Direction {
  return half === ABI.EGRESS ? "egress" : "ingress";
}

/** In ticks. */
function lifetime(protocol: number, isAnswered: boolean): bigint {
  if (!isAnswered) return BigInt(ABI.FLOW_NEW_TICKS);
  return BigInt(protocol === SCTP ? ABI.FLOW_SCTP_TICKS : ABI.FLOW_ANSWERED_TICKS);
}

function split(records: Buffer, size: number): readonly Buffer[] {
  return Array.from({ length: records.length / size }, (_unused, at) => records.subarray(at * size, (at + 1) * size));
}

function endsOf(
  record: Buffer,
  family: number,
  { local, remote }: { readonly local: number; readonly remote: number },
): Pick<LiveConnection, "peer" | "isToItself"> {
  const length = family === ABI.FAMILY_IPV6 ? 16 : 4;
  const [own, peer] = [local, remote].map((at) => addressFromBytes(record.subarray(at, at + length)));
  const isLoopback = peer === "::1" || peer?.startsWith("127.") === true;
  return { peer: peer ?? "", isToItself: own === peer || isLoopback };
}
