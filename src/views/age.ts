/** Returns an age in the largest unit of which there is more than one, rounded down. */
export function ageText(ageMs: number): string {
  const units = [
    ["d", 86_400_000],
    ["h", 3_600_000],
    ["min", 60_000],
  ] as const;
  const [unit, lengthMs] = units.find(([, length]) => ageMs >= 2 * length) ?? (["s", 1000] as const);
  return `${Math.floor(ageMs / lengthMs)} ${unit}`;
}
