/**
 * `npm run cluster`, used by somebody who types commands and reads the answers: each command, and the answer that it
 * settles at.
 */
import t from "tap";
import type { Test } from "tap";
import { Ztap, type Running } from "../cli/ztap.js";
import { whyNoEtcd } from "../etcd/server.js";
import { matchGolden } from "../golden.js";
import { whyNot } from "../kernel/sandbox.js";
import { waitUntil } from "../wait.js";
import { normalize, startScript } from "./transcript.js";

const PROMPT = "cluster> ";
const NODES = 3;
/** How much was off when the agent looked is a matter of moments. */
const HEALED = /^ {2}node-\d: healed \d+ differences?\n/gm;

/** Types one command after the other, and keeps what was typed and answered. */
class Session {
  readonly #cluster: Running;
  #read = 0;
  #transcript = "";

  constructor(cluster: Running) {
    this.#cluster = cluster;
  }

  get transcript(): string {
    return this.#transcript;
  }

  /** The text up to the next prompt, or to the end. */
  async hear(): Promise<string> {
    await waitUntil(() => this.#cluster.isOver || this.#cluster.stdout.slice(this.#read).includes(PROMPT), {
      what: "the prompt of the cluster",
    });
    const rest = this.#cluster.stdout.slice(this.#read);
    const at = rest.indexOf(PROMPT);
    const text = at === -1 ? rest : rest.slice(0, at);
    this.#read += at === -1 ? rest.length : at + PROMPT.length;
    return text;
  }

  keep(text: string): void {
    this.#transcript += text;
  }

  /** Types the command, again and again until `isSettled` holds for the answer, and keeps the last answer. */
  async ask(command: string, isSettled: (answer: string) => boolean = () => true): Promise<string> {
    const answer = await waitUntil(
      async () => {
        if (this.#cluster.isOver) throw new Error(`the cluster ended: ${this.#cluster.stderr}`);
        this.#cluster.type(command);
        return this.hear();
      },
      { what: `another answer to ${command}`, is: isSettled },
    );
    this.keep(`${PROMPT}${command}\n${answer}`);
    return answer;
  }
}

/** One node leads; the others follow it at that revision, but for the one that is lost. */
function enforces(revision: number, lost?: number): (answer: string) => boolean {
  return (answer) => {
    const rows = [...answer.matchAll(/^node-(\d) .* (leader|follower|-) +(\S+) .* (\S+) +(\S+)$/gm)];
    const others = rows.filter(([, node]) => node !== String(lost));
    return (
      answer.includes(`, revision ${revision}\n`) &&
      / Synced at /.test(answer) &&
      /^Leader +node-\d \([\d.:]+\)$/m.test(answer) &&
      rows.length === NODES &&
      others.every(([, , , state, enforced]) => state === "healthy" && enforced === String(revision)) &&
      others.filter(([, , role]) => role === "leader").length === 1 &&
      rows.every(([, node, , state]) => node !== String(lost) || state !== "healthy")
    );
  };
}

/** The next workload answers on one port, and on no other. */
const opens = (port: number) => (answer: string) =>
  answer.split(`${port}  connected`).length - 1 === NODES && answer.split("refused").length - 1 === NODES;

/** Two of the three ways lead to the host that is cut off, or away from it. */
const isCutFrom = (answer: string) => answer.split("connected").length - 1 === 1;

const isHealed = (answer: string) =>
  answer.split(/^node-\d +InSync/m).length - 1 === NODES && answer.split(/^Git +Synced$/m).length - 1 === NODES;

async function tell(t: Test, session: Session): Promise<void> {
  session.keep(await session.hear());
  await session.ask("status", enforces(1));
  await session.ask("probe", opens(8000));
  await session.ask("push");
  await session.ask("status", enforces(2));
  await session.ask("probe", opens(8001));
  await session.ask("damage 1");
  await session.ask("drift", isHealed);
  await session.ask("kill 2");
  t.match(await session.ask("status", enforces(2, 2)), /^node-2: the agent is not running/m);
  await session.ask("start 2");
  await session.ask("etcd-kill 3");
  await session.ask("push");
  await session.ask("status", enforces(3));
  await session.ask("etcd-start 3");
  await session.ask("cut 1");
  await session.ask("probe", isCutFrom);
  await session.ask("mend 1");
  await session.ask("status", enforces(3));
  await session.ask("ztap policy history shop/web");
  await session.ask("kill");
  await session.ask("fly 1");
}

t.test("npm run cluster", { skip: whyNot() ?? whyNoEtcd() ?? false }, async (t) => {
  const cluster = startScript(new Ztap(t), "cluster", { isInteractive: true });
  try {
    const session = new Session(cluster);
    await tell(t, session);
    cluster.type("quit");
    const { code, stderr } = await cluster.ended;
    t.equal(code, 0, stderr);
    t.equal(stderr, "");
    session.keep(`${PROMPT}quit\n${await session.hear()}`);
    matchGolden(t, "test/examples/golden/cluster.txt", normalize(session.transcript).replace(HEALED, ""));
  } finally {
    // It takes away what it made.
    if (!cluster.isOver) await cluster.stop();
  }
});
