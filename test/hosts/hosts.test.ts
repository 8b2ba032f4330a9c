/**
 * Whole hosts: a clean Debian 12 on its own kernel installs the package, is enforced before its network is up, restarts services,
 * is upgraded, loses power, and is rid of ztap in the end. `npm run test:hosts`; ZTAP_KERNELS=6.1 boots one kernel alone.
 */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import t, { type Test } from "tap";
import { makePackages, whyNoPackages } from "../package/packages.js";
import { HANG_MS, pause, waitUntil } from "../wait.js";
import { Machine, whyNoMachine, type Files } from "./machine.js";

const SERIES = process.env["ZTAP_KERNELS"]?.split(",") ?? ["6.1", "6.12"];
const UNITS = "etc/systemd/system";
const [HOST, PEER, STRANGER] = ["10.77.0.1", "10.77.0.2", "10.77.0.3"];
const [ECHO, FORBIDDEN, SERVICE] = [7000, 9999, 8080];

/** What arrives where the service must not send. */
const SINK = "/var/log/sink";
/** Of each start of the service: whether its first try at what it may reach had an answer. */
const STARTS = "/var/log/starts";
/** Tries after that which failed, and how many there were. */
const REFUSED = "/var/log/refused";
const TRIES = "/var/log/tries";

const service = (command: string, unit = "", more = ""): string =>
  `[Unit]\nDefaultDependencies=no\n${unit}\n[Service]\nExecStart=${command}\nRestart=always\nRestartSec=100ms\n${more}\n`;

const AFTER_NETWORK = "Requires=test-network.service\nAfter=test-network.service\nBefore=network.target";

/** A network with two neighbours, and a service that tries without end, from its start on, what it may reach and what it may not. */
const FILES: Files = {
  [`${UNITS}/test-network.service`]:
    "[Unit]\nDefaultDependencies=no\nAfter=network-pre.target\nBefore=network.target\nConflicts=shutdown.target\n" +
    "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/local/lib/test-network\n",
  "usr/local/lib/test-network": [
    "#!/bin/bash -e",
    "ip netns add peer",
    "ip link add veth0 type veth peer name eth0 netns peer",
    `ip address add ${HOST}/24 dev veth0`,
    "ip link set veth0 up",
    `for address in ${PEER} ${STRANGER}; do ip -n peer address add $address/24 dev eth0; done`,
    "ip -n peer link set eth0 up",
    "",
  ].join("\n"),
  [`${UNITS}/peer-echo.service`]: service(
    `/bin/ip netns exec peer /usr/bin/socat TCP-LISTEN:${ECHO},bind=${PEER},fork,reuseaddr EXEC:/bin/cat`,
    AFTER_NETWORK,
  ),
  [`${UNITS}/peer-sink.service`]: service(
    `/bin/ip netns exec peer /usr/bin/socat -u UDP-RECV:${FORBIDDEN} OPEN:${SINK},creat,append`,
    AFTER_NETWORK,
  ),
  [`${UNITS}/web.service`]: service(
    "/usr/local/lib/web",
    `${AFTER_NETWORK}\nAfter=peer-echo.service peer-sink.service`,
    "KillMode=control-group",
  ),
  "usr/local/lib/web": [
    "#!/bin/bash",
    `send() { echo "$(cat /proc/sys/kernel/random/boot_id) $$ $1" >/dev/udp/${PEER}/${FORBIDDEN}; } 2>/dev/null`,
    `ask() { exec 3<>/dev/tcp/${PEER}/${ECHO} && echo asked >&3 && read -r -t 30 answer <&3 && exec 3>&- && [ "$answer" = asked ]; } 2>/dev/null`,
    "for at in 1 2 3; do send start; done",
    `until (exec 3<>/dev/tcp/${PEER}/${ECHO}) 2>/dev/null || [ $((tried += 1)) -ge 100 ]; do sleep 0.1; done`,
    `(ask) && echo answered >>${STARTS} || echo "no answer" >>${STARTS}`,
    `(while :; do send later; (ask) || date >>${REFUSED}; echo >>${TRIES}; sleep 0.05; done) &`,
    `exec /usr/bin/socat TCP-LISTEN:${SERVICE},fork,reuseaddr EXEC:/bin/cat`,
    "",
  ].join("\n"),
};
const STARTED = ["test-network.service", "peer-echo.service", "peer-sink.service", "web.service"];

const POLICY = `apiVersion: ztap/v1
kind: Node
metadata: { name: host }
spec: { addresses: [${HOST}] }
---
apiVersion: ztap/v1
kind: Workload
metadata: { name: web, namespace: shop, labels: { app: web } }
spec: { node: host, process: { systemdUnit: web.service }, ports: [{ port: ${SERVICE} }] }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: web, namespace: shop }
spec:
  podSelector: { matchLabels: { app: web } }
  policyTypes: [Ingress, Egress]
  ingress: [{ from: [{ ipBlock: { cidr: ${PEER}/32 } }], ports: [{ port: ${SERVICE} }] }]
  egress: [{ to: [{ ipBlock: { cidr: ${PEER}/32 } }], ports: [{ port: ${ECHO} }] }]
`;

async function testHost(t: Test, series: string, packages: readonly string[]): Promise<void> {
  const [debs = [], rpms = []] = [".deb", ".rpm"].map((ending) => packages.filter((file) => file.endsWith(ending)));
  const folder = mkdtempSync(join(tmpdir(), `ztap-host-${process.pid}-`));
  const share = join(folder, "share");
  mkdirSync(share);
  for (const file of packages) copyFileSync(file, join(share, basename(file)));
  const [first = "", second = ""] = debs.map((deb) => `/mnt/${basename(deb)}`);
  const machine = new Machine({ series, folder, files: FILES, units: STARTED, share });
  t.teardown(async () => {
    await machine.cutPower();
    rmSync(folder, { recursive: true });
  });
  const count = async (file: string): Promise<number> => Number(await machine.run(`cat ${file} 2>/dev/null | wc -l`));
  const reach = async (from: string): Promise<boolean> => {
    const connect = `timeout 20 socat -t 5 - TCP:${HOST}:${SERVICE},bind=${from},connect-timeout=5`;
    return (await machine.try(`echo asked | ip netns exec peer ${connect}`)).output === "asked";
  };
  const inSync = (): Promise<unknown> =>
    waitUntil(async () => (await machine.try("ztap policy show shop/web | grep -q InSync")).code === 0, {
      what: "Git, store, node and kernel to agree",
    });
  /** Since the last call: nothing forbidden arrived, nothing allowed failed, and both were tried. */
  const seen = { sink: 0, refused: 0, tries: 0 };
  const holds = async (what: string, tries = 20): Promise<void> => {
    const before = await count(TRIES);
    await waitUntil(async () => (await count(TRIES)) >= Math.max(before, seen.tries) + tries, { what: "more tries" });
    t.same(
      { sink: (await count(SINK)) - seen.sink, refused: (await count(REFUSED)) - seen.refused },
      { sink: 0, refused: 0 },
      `${what}: nothing forbidden arrived, nothing allowed was refused`,
    );
    seen.tries = await count(TRIES);
  };
  const failures = async (): Promise<string> => machine.run("systemctl --failed --no-legend --plain");

  await machine.boot();
  await waitUntil(async () => (await count(SINK)) > 0, { what: "the control: without ztap it arrives" });
  await waitUntil(() => reach(STRANGER), { what: "the service, which without ztap anybody reaches" });

  const installed = await machine.run(`dpkg -i ${first}`);
  t.match(installed, /ztap doctor|ztap setup/, "the package says what comes next");
  t.equal((await machine.try("systemctl is-enabled ztap.service")).output, "disabled", "nothing starts by itself");
  await machine.run("ztap doctor");
  await machine.run(
    `mkdir -p /srv/policies && cd /srv/policies && git init -q -b main && git config core.fsync all && base64 -d <<<${Buffer.from(POLICY).toString("base64")} >policy.yaml &&` +
      "git add -A && git -c user.name=t -c user.email=t@localhost commit -qm first",
  );
  await testSetup(t, machine, inSync);
  await machine.run("systemctl enable --now ztap-boot.service ztap.service");
  t.equal((await machine.try("systemctl is-failed ztap-boot.service")).code, 1, "enabled once more, beside the agent");
  await inSync();
  await machine.run("systemctl restart web.service");
  Object.assign(seen, { sink: await count(SINK), refused: await count(REFUSED), tries: await count(TRIES) });
  await holds("enforced");
  t.ok(await reach(PEER), "who may reach the service does");
  t.notOk(await reach(STRANGER), "who may not does not");

  await machine.reboot();
  await holds("after a reboot");
  t.equal(await failures(), "", "no unit failed");
  const enforced = await machine.run("systemctl show --value -p ActiveEnterTimestampMonotonic ztap-boot.service");
  const network = await machine.run("systemctl show --value -p ActiveEnterTimestampMonotonic test-network.service");
  t.ok(Number(enforced) > 0 && Number(enforced) < Number(network), "the policy was in force before the network");
  await inSync();

  const starts = await count(STARTS);
  for (let at = 0; at < 5; at += 1) {
    await machine.run("systemctl restart web.service");
    await waitUntil(async () => (await count(STARTS)) > starts + at, { what: "a start" });
  }
  t.same(await machine.run(`tail -n 5 ${STARTS} | sort -u`), "answered", "each start had its answer at the first try");
  await holds("restarts of the service");

  await machine.run(`dpkg -i ${second}`);
  await inSync();
  await holds("an upgrade");
  t.equal((await machine.try("systemctl is-active ztap.service")).output, "active", "the agent runs again");
  t.match(await machine.run("cat /etc/ztap/config.yaml"), /srv\/policies/, "the configuration stayed");

  // The power goes while the agent follows commits, and while the package is unpacked.
  const busy = [
    'for at in $(seq 1000); do sed -i "s/port: 7000 }\\(, { port: [0-9]* }\\)*/port: 7000 }, { port: $at }/" policy.yaml; git -c user.name=t -c user.email=t@localhost commit -qam "$at"; sleep 1; done',
    `while :; do dpkg -i ${first}; dpkg -i ${second}; done`,
  ];
  for (const [round, work] of busy.entries()) {
    await machine.run(`cd /srv/policies && (setsid bash -c '${work.replaceAll("'", `'\\''`)}' >/dev/null 2>&1 &)`);
    await pause(10_000 + 7_000 * round);
    await machine.cutPower();
    await machine.boot();
    await holds(`the power was cut (${round})`);
    await machine.run("dpkg --configure -a");
    await machine.run(`dpkg -i ${second}`);
    await machine.run("systemctl is-active ztap.service || systemctl start ztap.service");
    await machine.run("cd /srv/policies && rm -f .git/*.lock; git checkout -q -f main");
    await inSync();
    await holds(`and all goes on (${round})`);
  }

  const removed = await machine.run("dpkg --remove ztap");
  t.match(removed, /enforce/, "the package says that enforcement stays, and how to end it");
  await holds("removed");
  t.notOk(await reach(STRANGER), "what was enforced still is");
  await machine.run(`dpkg -i ${second}`);
  await machine.run("dpkg --purge ztap");
  await waitUntil(async () => (await count(SINK)) > seen.sink, { what: "the end of enforcement" });
  t.ok(await reach(STRANGER), "nothing is enforced any more");
  const left = "ls -d /etc/ztap /var/lib/ztap /usr/lib/ztap /sys/fs/bpf/ztap /run/ztap 2>/dev/null";
  t.equal((await machine.try(left)).output, "", "nothing is left");
  await testRpm(t, machine, rpms);
}

/** `ztap setup` leads from the installed package to an agent that follows the repository. */
async function testSetup(t: Test, machine: Machine, inSync: () => Promise<unknown>): Promise<void> {
  const wrong = await machine.try("ztap setup --source /srv/nothing");
  t.match(wrong, { code: 1, output: /not written/ }, "with a source that cannot be read nothing is set up");
  t.equal((await machine.try("systemctl is-enabled ztap.service")).output, "disabled", "and nothing is started");
  t.match(await machine.run("ztap setup --source /srv/policies"), /ztap\.service are enabled, and the agent runs/);
  t.equal((await machine.try("systemctl is-enabled ztap-boot.service")).output, "enabled");
  await inSync();
  // What follows commits often.
  await machine.run("sed -i 's/^source:$/&\\n  interval: 2s/' /etc/ztap/config.yaml && systemctl restart ztap.service");
  t.match(await machine.run("ztap config show"), /2s/);
  t.match(await machine.run("ztap setup --source /srv/policies"), /kept/, "once more: an edited file stays");
  t.match(await machine.run("cat /etc/ztap/config.yaml"), /interval: 2s/);
}

/** The same host, with the other kind of package: rpm runs the scripts beside a real systemd. */
async function testRpm(t: Test, machine: Machine, files: readonly string[]): Promise<void> {
  const [first = "", second = ""] = files.map((file) => `/mnt/${basename(file)}`);
  const active = async (): Promise<string> => (await machine.try("systemctl is-active ztap.service")).output;
  const pid = (): Promise<string> => machine.run("systemctl show --value -p MainPID ztap.service");
  await machine.run("apt-get install -y rpm");
  t.match(await machine.run(`rpm -i --nodeps ${first}`), /installed, and nothing is enforced yet/);
  t.equal((await machine.try("systemctl is-enabled ztap.service")).output, "disabled", "nothing starts by itself");
  await machine.run("ztap setup --source /srv/policies");
  t.equal(await active(), "active");
  const former = await pid();
  await machine.run(`rpm -U --nodeps ${second}`);
  t.equal(await active(), "active", "an upgrade restarts the agent");
  t.not(await pid(), former);
  await waitUntil(async () => (await machine.try("ztap policy show shop/web | grep -q InSync")).code === 0, {
    what: "the agent of the new package",
  });
  t.match(await machine.run("rpm -e ztap"), /still in force/);
  t.not(await active(), "active", "the agent has stopped");
}

t.setTimeout(HANG_MS * 2);
const reason = whyNoPackages();
const reasons = SERIES.map((series) => whyNoMachine(series) ?? reason);
const packages = reasons.every((one) => one !== null)
  ? []
  : makePackages(t, ["--arch", "amd64", "--only", "deb,rpm", "--release", "1,2"]).filter((file) =>
      /\.(deb|rpm)$/.test(file),
    );
for (const [at, series] of SERIES.entries())
  await t.test(`Debian 12, Linux ${series}`, { skip: reasons[at] ?? false, timeout: HANG_MS }, (t) =>
    testHost(t, series, packages),
  );
