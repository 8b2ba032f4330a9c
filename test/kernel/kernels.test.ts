/**
 * The kernels of Debian 12: the programs load there, agree with the reference, and live and die as they do here; and its systemd, as
 * the first process of a guest. ZTAP_KERNELS=6.1 runs one of them alone.
 */
import t from "tap";
import { prepareGuest, whyNoGuest, type FirstProcess } from "./guest.js";

interface Kind {
  readonly series: string;
  readonly files: readonly string[];
  readonly first: FirstProcess;
}

/**
 * Debian's own kernel runs those in which kernels differ; a newer one, between that and this machine's, fewer. A guest is emulated,
 * and slow: what takes longest there runs only by the name of the guest, or in `npm run test:hosts`.
 */
const NEWER = ["agreement"];
const OLDER = [
  ...["programs", "agreement", "contract", "trial", "shadow", "host"],
  ...["channels", "foreign-sockets", "identity", "syn-identity", "host-workload"],
];
const isWhole = process.env["ZTAP_KERNELS"] !== undefined || process.env["ZTAP_HOSTS"] === "1";
const newer = isWhole ? [...NEWER, "programs", "lifecycle", "host", "channels"] : NEWER;
const older = isWhole ? [...OLDER, "lifecycle", "overrides"] : OLDER;
const KINDS: ReadonlyMap<string, Kind> = new Map<string, Kind>([
  ["6.1", { series: "6.1", files: older, first: "script" }],
  ["6.12", { series: "6.12", files: newer, first: "script" }],
  ["systemd", { series: "6.1", files: ["systemd"], first: "systemd" }],
]);

t.setTimeout(30 * 60 * 1000);
for (const name of process.env["ZTAP_KERNELS"]?.split(",") ?? KINDS.keys()) {
  const kind = KINDS.get(name);
  if (kind === undefined) throw new TypeError(`ZTAP_KERNELS: ${name} is none of ${[...KINDS.keys()].join(", ")}`);
  const { series, files, first } = kind;
  const title = first === "systemd" ? `systemd, Linux ${series}` : `Linux ${series}`;
  const reason = whyNoGuest(series, first);
  if (reason !== null) {
    t.pass(title, { skip: reason });
    continue;
  }
  const guest = prepareGuest(t, series, files, first);
  const result = await t.spawn(guest.command, [...guest.args], {}, `${title}: ${guest.release}`);
  // A guest that never came to its tests is no success.
  t.equal(result?.count, files.length, `every file ran on ${title}`, { console: guest.console() });
}
