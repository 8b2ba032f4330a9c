/** Freeze windows: parts of each week, by the clock of a time zone. Pure; luxon does the calendar arithmetic. */
import { DateTime } from "luxon";
import { WEEKDAYS, type FreezeWindow } from "../../model/rollout.js";

const MINUTES_PER_DAY = 24 * 60;
const MINUTES_PER_WEEK = 7 * MINUTES_PER_DAY;

/** A window that is open. */
export interface Freeze {
  readonly window: FreezeWindow;
  /** RFC 3339, UTC. */
  readonly until: string;
}

/** Returns the open window that ends last; null if none is open. */
export function freezeAt(windows: readonly FreezeWindow[], now: number): Freeze | null {
  const open = windows.flatMap((window) => freezeOf(window, now) ?? []);
  return open.sort((a, b) => (a.until < b.until ? 1 : -1))[0] ?? null;
}

/**
 * A window is compared as the wall clock of its zone shows it. Where the clock is set forward or back, it begins and ends
 * when the clock first shows its time, or has passed it.
 */
function freezeOf(window: FreezeWindow, now: number): Freeze | null {
  const local = DateTime.fromMillis(now, { zone: window.timezone });
  // The program that validated the zone may have known more of them: a window that cannot be read is open.
  if (!local.isValid) return { window, until: new Date(now + MINUTES_PER_DAY * 60_000).toISOString() };
  const at = (local.weekday - 1) * MINUTES_PER_DAY + local.hour * 60 + local.minute;
  const [from, to] = [minuteOfWeek(window.from), minuteOfWeek(window.to)];
  const isOpen = from <= to ? at >= from && at < to : at >= from || at < to;
  if (!isOpen) return null;
  const days = Math.floor(to / MINUTES_PER_DAY) - (local.weekday - 1) + (at < to ? 0 : 7);
  const end = local
    .startOf("day")
    .plus({ days })
    .set({ hour: Math.floor((to % MINUTES_PER_DAY) / 60), minute: to % 60 });
  return { window, until: end.toUTC().toJSDate().toISOString() };
}

/** The schema has checked its form. */
function minuteOfWeek(text: string): number {
  const [day = "", time = ""] = text.split(" ");
  const [hour = "0", minute = "0"] = time.split(":");
  const index = WEEKDAYS.findIndex((name) => name === day);
  return (Math.max(0, index) * MINUTES_PER_DAY + Number(hour) * 60 + Number(minute)) % MINUTES_PER_WEEK;
}

export function describeFreeze({ window: { from, to, timezone }, until }: Freeze): string {
  return `frozen until ${until} (${from} to ${to}, ${timezone})`;
}
