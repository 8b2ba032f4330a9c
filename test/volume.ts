/**
 * Volume: how often a test repeats what it does with random kills, commits and packets. `npm test` repeats enough for
 * a proof; `npm run soak` (ZTAP_SOAK=1) repeats for volume, and its figures stand in docs/benchmarks.md; `npm run check`
 * (ZTAP_CHECK=1) is to be quick. On an emulated processor (ZTAP_EMULATED=1) everything takes ten times as long.
 */
export function volume(usual: number, soak: number, emulated = usual): number {
  if (process.env["ZTAP_EMULATED"] === "1") return emulated;
  if (process.env["ZTAP_CHECK"] === "1") return Math.ceil(usual / 10);
  return process.env["ZTAP_SOAK"] === "1" ? soak : usual;
}
