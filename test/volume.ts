/**
 * Volume: how often a test repeats what it does with random kills, commits and packets. `npm test` repeats enough for
 * a proof; `npm run soak` (ZTAP_SOAK=1) repeats for volume, and its figures stand in docs/benchmarks.md.
 */
export const isSoak = process.env["ZTAP_SOAK"] === "1";

export const volume = (usual: number, soak: number): number => (isSoak ? soak : usual);
