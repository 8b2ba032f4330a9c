import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import t from "tap";
import { serveHttp } from "../../src/adapters/prometheus/server.js";
import { EventLoopBlocks } from "../../src/adapters/prometheus/event-loop.js";
import { createTelemetry } from "../../src/adapters/prometheus/telemetry.js";

/** Serves it as an agent does, and gives what a scrape reads: each series with its value. */
async function setUp(t: { teardown(end: () => Promise<void>): unknown }) {
  const { telemetry, registry } = createTelemetry();
  const probes = { health: () => null, readiness: () => null, details: () => [] };
  const server = await serveHttp({ host: "127.0.0.1", port: 0 }, registry, probes);
  t.teardown(() => server.close());
  const scrape = async (): Promise<ReadonlyMap<string, number>> => {
    const text = await (await fetch(`http://${server.address}/metrics`)).text();
    const lines = text.split("\n").filter((line) => line.startsWith("ztap_"));
    return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.split(" ").at(-1))]));
  };
  return { server, telemetry, registry, scrape };
}

const VERSION = "ztap_policy_version_current";

t.test("the version of each policy in head, and of no other policy", async (t) => {
  const { telemetry, scrape } = await setUp(t);
  telemetry.policyVersions([
    { namespace: "shop", name: "web", version: 3 },
    { namespace: "shop", name: "db", version: 1 },
  ]);
  t.equal((await scrape()).get(`${VERSION}{namespace="shop",policy="web"}`), 3);
  telemetry.policyVersions([{ namespace: "shop", name: "db", version: 2 }]);
  const left = [...(await scrape())].filter(([series]) => series.startsWith(VERSION));
  t.same(left, [[`${VERSION}{namespace="shop",policy="db"}`, 2]], "the series of a deleted policy is gone");
  for (let round = 0; round < 100; round += 1)
    telemetry.policyVersions([{ namespace: "shop", name: `p${round}`, version: 1 }]);
  t.equal([...(await scrape()).keys()].filter((series) => series.startsWith(VERSION)).length, 1);
});

t.test("every counter is present from the start, and counts", async (t) => {
  const { telemetry, scrape } = await setUp(t);
  const before = await scrape();
  const counted = [
    'ztap_rejected_commits_total{reason="invalid"}',
    'ztap_drift_items_total{kind="detached"}',
    'ztap_packets_total{direction="egress",verdict="denied"}',
    "ztap_policies_synced_total",
    "ztap_policy_sync_duration_seconds_count",
    "ztap_policies_enforced_total",
    "ztap_policy_enforcement_duration_seconds_count",
    "ztap_elections_total",
    "ztap_source_errors_total",
    "ztap_store_errors_total",
    "ztap_healed_items_total",
  ];
  for (const series of counted) t.equal(before.get(series), 0, series);
  telemetry.rejected({ reason: "invalid" });
  telemetry.drift("detached", 2);
  const packets = (count: bigint) => telemetry.packets([{ direction: "egress", verdict: "denied", packets: count }]);
  packets(5n);
  packets(7n);
  telemetry.committed({ revision: 1, policies: 4, durationMs: 20 });
  telemetry.enforced({ policies: 3, durationMs: 300 });
  telemetry.elected();
  telemetry.sourceError();
  telemetry.storeError();
  telemetry.healed(6);
  const after = await scrape();
  t.same(
    counted.map((series) => after.get(series)),
    [1, 2, 7, 4, 1, 3, 1, 1, 1, 1, 6],
  );
  t.equal(after.get('ztap_policy_sync_duration_seconds_bucket{le="0.025"}'), 1, "in seconds");
  t.equal(after.get("ztap_policy_enforcement_duration_seconds_sum"), 0.3);
  packets(3n);
  t.equal((await scrape()).get(counted[2] ?? ""), 10, "counters of the kernel that were made anew go on");
});

t.test("the lag is head minus the enforced revision", async (t) => {
  const { telemetry, scrape } = await setUp(t);
  const read = async () => {
    const series = await scrape();
    return ["head_revision", "enforced_revision", "revision_lag"].map((name) => series.get(`ztap_${name}`));
  };
  telemetry.head(4);
  t.same(await read(), [4, 0, 4]);
  telemetry.inForce(3);
  t.same(await read(), [4, 3, 1]);
  telemetry.inForce(4);
  t.same(await read(), [4, 4, 0]);
  telemetry.leader(true);
  telemetry.stalled(true);
  const series = await scrape();
  t.same([series.get("ztap_leader"), series.get("ztap_stalled")], [1, 1]);
});

t.test("alarms and sizes of the store are those of the server that is asked now", async (t) => {
  const { telemetry, scrape } = await setUp(t);
  const ALARM = 'ztap_store_alarm{alarm="NOSPACE"}';
  t.equal((await scrape()).get(ALARM), 0);
  const server = { endpoint: "a:1", databaseBytes: 7, usedBytes: 5, quotaBytes: 9, alarms: ["NOSPACE"], problem: null };
  telemetry.storeHealth([server]);
  const full = await scrape();
  t.equal(full.get(ALARM), 1);
  t.equal(full.get('ztap_store_database_bytes{server="a:1"}'), 7);
  t.equal(full.get('ztap_store_quota_bytes{server="a:1"}'), 9);
  telemetry.storeHealth([{ ...server, endpoint: "b:1", quotaBytes: null, alarms: [] }]);
  const after = [...(await scrape())].filter(([series]) => series.startsWith("ztap_store_"));
  t.same(after, [
    ["ztap_store_errors_total", 0],
    ['ztap_store_database_bytes{server="b:1"}', 7],
    [ALARM, 0],
    ['ztap_store_alarm{alarm="CORRUPT"}', 0],
  ]);
});

t.test("certificates have the time that is left", async (t) => {
  const { telemetry, scrape } = await setUp(t);
  telemetry.certificates([{ setting: "etcd.cert", secondsLeft: -3 }]);
  t.equal((await scrape()).get('ztap_certificate_expiry_seconds{certificate="etcd.cert"}'), -3);
});

/** Metrics whose series come and go. */
const CHANGING = [VERSION, "ztap_store_database_bytes", "ztap_store_quota_bytes", "ztap_certificate_expiry_seconds"];

t.test("docs/operations.md lists exactly these metrics, with their types and labels", async (t) => {
  const { registry } = await setUp(t);
  const page = readFileSync(new URL("../../../docs/operations.md", import.meta.url), "utf8");
  const documented = [...page.matchAll(/^\| `(ztap_\w+)(?:\{([\w,]+)\})?` \| (\w+) \|/gm)]
    .map(([, name, labels = "", type]) => ({ name, type, labels }))
    .sort((a, b) => ((a.name ?? "") < (b.name ?? "") ? -1 : 1));
  const served = (await registry.getMetricsAsJSON())
    .filter(({ name }) => name.startsWith("ztap_"))
    .map(({ name, type }) => ({ name, type: String(type) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  t.same(
    documented.map(({ name, type }) => ({ name, type })),
    served,
  );
  const text = await registry.metrics();
  for (const { name, labels } of documented) {
    if (labels === "" || name === undefined || CHANGING.includes(name)) continue;
    const series = new RegExp(
      `^${name}\\{${labels
        .split(",")
        .map((label) => `${label}="\\w+"`)
        .join(",")}\\} 0$`,
      "m",
    );
    t.match(text, series, name);
  }
});

t.test("connections that ask for nothing keep nobody out", async (t) => {
  const { server, scrape } = await setUp(t);
  const [host = "", port = ""] = server.address.split(":");
  const idle: Socket[] = [];
  t.teardown(() => idle.forEach((socket) => socket.destroy()));
  for (let count = 0; count < 200; count += 1) {
    const socket = connect(Number(port), host);
    socket.on("error", () => undefined);
    // Half of them begin a request, and never end it.
    if (count % 2 === 0) socket.write("GET /metrics HTTP/1.1\r\n");
    idle.push(socket);
    await new Promise((resolve) => socket.once("connect", resolve));
  }
  t.ok((await scrape()).has("ztap_head_revision"));
});

t.test("the longest time for which the event loop was blocked is kept for a while", (t) => {
  const blocks = new EventLoopBlocks();
  const quiet = (periods: number): void => {
    for (let period = 0; period < periods; period += 1) blocks.note(0);
  };
  blocks.note(-2);
  t.equal(blocks.longestSeconds, 0);
  blocks.note(2500);
  blocks.note(10);
  t.equal(blocks.longestSeconds, 2.5);
  quiet(300);
  t.equal(blocks.longestSeconds, 2.5);
  quiet(400);
  t.equal(blocks.longestSeconds, 0);
  t.end();
});

t.test("the answer of /readyz has the details below it, and they do not change its status", async (t) => {
  let problem: string | null = null;
  const probes = { health: () => null, readiness: () => problem, details: () => ["pending: a/b: no cgroup"] };
  const server = await serveHttp({ host: "127.0.0.1", port: 0 }, createTelemetry().registry, probes);
  t.teardown(() => server.close());
  const ask = async (path: string) => {
    const answer = await fetch(`http://${server.address}${path}`);
    return [answer.status, await answer.text()];
  };
  t.same(await ask("/readyz"), [200, "ok\npending: a/b: no cgroup\n"]);
  problem = "nothing is enforced yet";
  t.same(await ask("/readyz"), [503, "nothing is enforced yet\npending: a/b: no cgroup\n"]);
  t.same(await ask("/healthz"), [200, "ok\n"]);
});

t.test("pending workloads and an undeclared node are gauges that fall back to 0", async (t) => {
  const { telemetry, scrape } = await setUp(t);
  const values = async () => {
    const series = await scrape();
    return [series.get("ztap_workloads_pending"), series.get("ztap_node_undeclared")];
  };
  t.same(await values(), [0, 0]);
  telemetry.pending(3);
  telemetry.undeclared(true);
  t.same(await values(), [3, 1]);
  telemetry.pending(0);
  telemetry.undeclared(false);
  t.same(await values(), [0, 0]);
});
