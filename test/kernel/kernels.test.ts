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
 * In each run, those that show that everything loads and decides as the reference says. A guest is emulated, and slow: all the others,
 * in which kernels may differ as well, run by the name of the guest, and in `npm run test:hosts`.
 */
const isWhole = process.env["ZTAP_KERNELS"] !== undefined || process.env["ZTAP_HOSTS"] === "1";
const newer = isWhole ? ["agreement", "programs", "lifecycle", "host", "channels"] : ["programs"];
const older = isWhole
  ? [
      ...["programs", "agreement", "contract", "trial", "shadow", "overrides", "host", "channels"],
      ...["foreign-sockets", "identity", "syn-identity", "host-workload", "lifecycle"],
    ]
  : ["programs", "agreement", "trial"];
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
