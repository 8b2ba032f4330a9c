/**
 * The kernels of Debian 12: the programs load there, agree with the reference, and live and die as they do here.
 * ZTAP_KERNELS=6.1 runs one of them alone.
 */
import t from "tap";
import { prepareGuest, whyNoGuest } from "./guest.js";

const SERIES = (process.env["ZTAP_KERNELS"] ?? "6.1,6.12").split(",");
const FILES = [
  ...["programs", "agreement", "lifecycle", "channels", "foreign-sockets", "host", "host-workload"],
  ...["identity", "syn-identity"],
];

t.setTimeout(30 * 60 * 1000);
for (const series of SERIES) {
  const reason = whyNoGuest(series);
  if (reason !== null) {
    t.pass(`Linux ${series}`, { skip: reason });
    continue;
  }
  const guest = prepareGuest(t, series, FILES);
  const result = await t.spawn(guest.command, [...guest.args], {}, `Linux ${guest.release}`);
  // A guest that never came to its tests is no success.
  t.equal(result?.count, FILES.length, `every file ran on Linux ${guest.release}`, { console: guest.console() });
}
