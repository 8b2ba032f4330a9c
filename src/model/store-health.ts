/** The problems of a store's servers, in words with the way out. */
import type { StoreHealth } from "./status.js";

/** From this share of its quota on, a database is reported. */
const NEARLY_FULL = 0.8;

const RECLAIM = "compact etcd, defragment its members and disarm the alarm, or raise --quota-backend-bytes";

const ALARMS: Readonly<Record<string, string>> = {
  NOSPACE: `etcd's alarm NOSPACE is raised: it accepts no more data; what is enforced stays, and nothing new can be committed or reported; ${RECLAIM}`,
  CORRUPT: "etcd's alarm CORRUPT is raised: the data of its members differ; restore the member that is wrong",
};

/** Returns one sentence for each problem. The sentences do not change with the figures. */
export function describeStoreProblems(health: readonly StoreHealth[]): readonly string[] {
  const alarms = [...new Set(health.flatMap((one) => one.alarms))];
  const known = alarms.map((alarm) => ALARMS[alarm] ?? `etcd's alarm ${alarm} is raised`);
  const isFull = alarms.includes("NOSPACE");
  const filling = isFull ? [] : health.filter(isNearlyFull).map(({ endpoint }) => endpoint);
  if (filling.length === 0) return known;
  const share = `${NEARLY_FULL * 100} %`;
  return [
    ...known,
    `etcd's database at ${filling.join(", ")} is larger than ${share} of its quota, at which it accepts no more data: ${RECLAIM}`,
  ];
}

function isNearlyFull({ databaseBytes, quotaBytes }: StoreHealth): boolean {
  return databaseBytes !== null && quotaBytes !== null && databaseBytes > NEARLY_FULL * quotaBytes;
}
