/**
 * Volume: how often a test repeats what it does with random kills, commits and packets. `npm test` repeats enough for
 * a proof; `npm run soak` (ZTAP_SOAK=1) repeats for volume, and its figures stand in docs/benchmarks.md. On an
 * emulated processor (ZTAP_EMULATED=1) everything takes ten times as long.
 */
export function volume(usual: number, soak: number, emulated = usual): number {
  if (process.env["ZTAP_EMULATED"] === "1") return emulated;
  return process.env["ZTAP_SOAK"] === "1" ? soak : usual;
}
