/**
 * `npm run cluster`: the three hosts, kept running, with a prompt to watch and break them. Without a
 * terminal it reads its commands from standard input. Everything is taken away at the end.
 */
import { createInterface } from "node:readline/promises";
import { ExampleCluster, HOSTS, NEXT, WORKLOADS, type Host } from "./cluster.js";

const HELP = `
  status        who leads, who is healthy, how far behind each is
  drift         ztap policy show for a policy of each host
  probe         which of the workloads reach one another, on both ports
  push          commit a policy change to Git: the port that is open moves between 8000 and 8001
  ztap ...      any command of ztap's, on host 1: ztap policy history shop/web
  damage N      detach host N's programs behind its agent's back
  kill N        SIGKILL the agent of host N          start N       start it again
  etcd-kill N   SIGKILL the etcd member of host N    etcd-start N  start it again
  cut N         pull host N's cable                  mend N        put it back
  log N         the last lines of host N's agent
  quit
`;

async function main(): Promise<void> {
  if (process.geteuid?.() !== 0) throw new Error("needs root: it makes network namespaces and cgroups and enforces for real");
  const cluster = new ExampleCluster();
  const prompt = createInterface({ input: process.stdin, output: process.stdout, terminal: process.stdin.isTTY });
  // Asked for at once: what is typed, or piped in, before the hosts are up is kept.
  const lines = prompt[Symbol.asyncIterator]();
  prompt.on("SIGINT", () => prompt.close());
  process.once("SIGTERM", () => prompt.close());
  try {
    say("starting three hosts: an etcd member, an agent and a workload on each …");
    await cluster.open();
    await cluster.ready();
    say(`repository ${cluster.repository}\nstore      ${cluster.store} (inside the network namespaces ${cluster.id}-1 … -3)`);
    say(HELP);
    prompt.setPrompt("cluster> ");
    prompt.prompt();
    for (let next = await lines.next(); next.done !== true; next = await lines.next()) {
      const [word = "", ...rest] = next.value.trim().split(/\s+/);
      if (word === "quit") break;
      await obey(cluster, word, rest).catch((error: unknown) => say(String(error)));
      prompt.prompt();
    }
  } finally {
    prompt.close();
    say("taking everything away …");
    await cluster.close();
  }
}

type Deed = (cluster: ExampleCluster, host: Host, words: readonly string[]) => unknown;

/** By the word that is typed; those that need a host take its number. */
const DEEDS: Readonly<Record<string, { readonly needsHost: boolean; readonly run: Deed }>> = {
  status: { needsHost: false, run: (cluster) => show(cluster, "cluster", "status") },
  drift: {
    needsHost: false,
    run: async (cluster) => {
      for (const name of Object.values(WORKLOADS)) await show(cluster, "policy", "show", `shop/${name}`);
    },
  },
  probe: { needsHost: false, run: probe },
  push: { needsHost: false, run: (cluster) => say(`pushed ${cluster.push("the other port", swapPorts)}`) },
  ztap: { needsHost: false, run: (cluster, _, words) => show(cluster, ...words) },
  damage: { needsHost: true, run: (cluster, host) => say(`detached ${cluster.damage(host)} programs`) },
  kill: { needsHost: true, run: (cluster, host) => cluster.signalAgent(host, "SIGKILL") },
  start: { needsHost: true, run: (cluster, host) => cluster.startAgent(host) },
  "etcd-kill": { needsHost: true, run: (cluster, host) => cluster.killEtcd(host) },
  "etcd-start": { needsHost: true, run: (cluster, host) => cluster.startEtcd(host) },
  cut: { needsHost: true, run: (cluster, host) => cluster.cut(host) },
  mend: { needsHost: true, run: (cluster, host) => cluster.mend(host) },
  log: { needsHost: true, run: (cluster, host) => say(cluster.agentLog(host).split("\n").slice(-12).join("\n")) },
};

async function obey(cluster: ExampleCluster, word: string, words: readonly string[]): Promise<void> {
  if (word === "") return;
  const deed = DEEDS[word];
  const host = HOSTS.find((candidate) => String(candidate) === words[0]);
  if (deed === undefined) return say(word === "help" ? HELP : `there is no command ${word}; help lists those that there are`);
  if (deed.needsHost && host === undefined) return say(`${word} needs the number of a host: ${HOSTS.join(", ")}`);
  await deed.run(cluster, host ?? 1, words);
}

async function show(cluster: ExampleCluster, ...args: readonly string[]): Promise<void> {
  // Any host may be cut off or dead; the first that answers is as good as another.
  for (const host of HOSTS) {
    const { status, stdout, stderr } = await cluster.ztap(host, ...args);
    if (status === 0 || host === HOSTS.at(-1)) return say(stdout + stderr);
  }
}

async function probe(cluster: ExampleCluster): Promise<void> {
  for (const host of HOSTS) {
    const next = NEXT[host];
    for (const port of [8000, 8001]) {
      const reached = await cluster.connects(host, next, port);
      say(`  ${WORKLOADS[host].padEnd(4)}→ ${WORKLOADS[next].padEnd(4)} ${port}  ${reached ? "connected" : "refused"}`);
    }
  }
}

function swapPorts(text: string): string {
  const [from, to] = text.includes("port: 8000") ? ["8000", "8001"] : ["8001", "8000"];
  return text.replaceAll(`port: ${from}`, `port: ${to}`);
}

function say(text: string): void {
  process.stdout.write(`${text.trimEnd()}\n`);
}

await main().catch((error: unknown) => {
  process.stderr.write(`cluster: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
