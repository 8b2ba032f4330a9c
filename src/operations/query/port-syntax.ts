/** Reads PORT/PROTO as users write it: `443/TCP`, `https`, `8000-8010/udp`, `8/ICMP` and `3.4/ICMP` (type and code). */
import { suggest } from "../../model/suggest.js";
import type { Protocol, WorkloadPort } from "../../model/objects.js";
import type { PortRange } from "../../model/ruleset.js";
import { OperationError } from "../../model/operation-error.js";

const PROTOCOLS: readonly Protocol[] = ["TCP", "UDP", "SCTP", "ICMP"];

/**
 * Reads one port.
 * @param ports the ports that a name may refer to; null if the other end is no workload and has no names
 * @throws OperationError `invalid-query`, `not-found`
 */
export function readPort(
  text: string,
  ports: readonly WorkloadPort[] | null,
): { readonly protocol: Protocol; readonly port: number } {
  const { value, protocol } = split(text);
  if (/^[\d.]+$/.test(value)) {
    const known = protocol ?? "TCP";
    // A type without a code gets code 0, as in an echo request.
    return { protocol: known, port: known === "ICMP" ? readIcmp(value, text).first : readNumber(value, text) };
  }
  if (ports === null)
    throw new OperationError("invalid-query", `${text}: only a workload has port names; write a number, as in 443/TCP`);
  const named = ports.filter((port) => port.name === value && (protocol === undefined || port.protocol === protocol));
  const [found, other] = named;
  if (other !== undefined)
    throw new OperationError(
      "invalid-query",
      `${value} is a port name of several protocols: write ${value}/${other.protocol}`,
    );
  if (found !== undefined) return { protocol: found.protocol, port: found.port };
  const names = ports.flatMap(({ name }) => (name === undefined ? [] : [name]));
  const guess = suggest(value, names);
  const hint =
    guess !== undefined
      ? `did you mean ${guess}?`
      : names.length === 0
        ? "it has no port names"
        : `it has ${names.join(", ")}`;
  throw new OperationError("not-found", `there is no port ${text} on that workload; ${hint}`);
}

/**
 * Reads a port or a range, for `--port`.
 * @throws OperationError `invalid-query`
 */
export function readPortRange(text: string): PortRange {
  const { value, protocol = "TCP" } = split(text);
  if (protocol === "ICMP") return { protocol, ...readIcmp(value, text) };
  const [first = "", last = first, ...more] = value.split("-");
  const range = { protocol, first: readNumber(first, text), last: readNumber(last, text) };
  if (more.length > 0 || range.last < range.first) throw malformed(text);
  return range;
}

function split(text: string): { readonly value: string; readonly protocol: Protocol | undefined } {
  const [value = "", name, ...more] = text.split("/");
  if (more.length > 0 || value === "") throw malformed(text);
  if (name === undefined) return { value, protocol: undefined };
  const protocol = PROTOCOLS.find((known) => known === name.toUpperCase());
  if (protocol === undefined)
    throw new OperationError("invalid-query", `${text}: ${JSON.stringify(name)} is not TCP, UDP, SCTP or ICMP`);
  return { value, protocol };
}

function readNumber(value: string, text: string): number {
  const port = Number(value);
  if (!/^\d+$/.test(value) || port < 1 || port > 65535) throw malformed(text);
  return port;
}

function readIcmp(value: string, text: string): { readonly first: number; readonly last: number } {
  const [, type, code] = /^(\d{1,3})(?:\.(\d{1,3}))?$/.exec(value) ?? [];
  if (type === undefined || Number(type) > 255 || Number(code ?? 0) > 255) throw malformed(text);
  const first = (Number(type) << 8) | Number(code ?? 0);
  return { first, last: code === undefined ? first | 255 : first };
}

function malformed(text: string): OperationError {
  return new OperationError(
    "invalid-query",
    `${JSON.stringify(text)} is not a port: write PORT/PROTO with a port from 1 to 65535, as in 443/TCP, or 8/ICMP for a type of ICMP`,
  );
}
