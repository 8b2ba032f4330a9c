/** What befalls a history: drawn from its seed, each at its moment, until the faults end. */
import type { SimNode } from "./node.js";
import type { SimServer } from "./server.js";
import type { SimRepository } from "./source.js";
import type { Content } from "./content.js";
import type { World } from "./world.js";

export interface Stage {
  readonly world: World;
  readonly nodes: readonly SimNode[];
  readonly server: SimServer;
  readonly repository: SimRepository;
  /** Makes content that the repository has not held yet. */
  readonly invent: (kind: Content["kind"]) => Content;
  /** Commits over the source, as an operator does. */
  readonly override: () => void;
}

type Fault = (stage: Stage) => void;

/** Runs `end` after a while, and at the end of all faults at the latest: `heal` then finds nothing left of it. */
function forAWhile({ world }: Stage, longestMs: number, end: () => void): void {
  world.time.after(world.between(200, longestMs), end);
}

const onNode =
  (run: (node: SimNode, stage: Stage) => void): Fault =>
  (stage) =>
    run(stage.world.pick(stage.nodes), stage);

const onCandidate =
  (run: (node: SimNode, stage: Stage) => void): Fault =>
  (stage) =>
    run(stage.world.pick(stage.nodes.filter(({ isCandidate }) => isCandidate)), stage);

function partition(node: SimNode, stage: Stage): void {
  const way = stage.world.pick(["both", "both", "requests", "answers"] as const);
  stage.world.note(
    node.name,
    way === "both" ? "is cut off from the store" : `is cut off from the store: ${way} are lost`,
  );
  node.link.cut(way);
  forAWhile(stage, stage.world.chance(0.3) ? 60_000 : 15_000, () => node.link.mend());
}

function outage(stage: Stage): void {
  stage.world.note("store", "away for everybody");
  for (const { link } of stage.nodes) link.cut("both");
  forAWhile(stage, 12_000, () => {
    for (const { link } of stage.nodes) link.mend();
  });
}

function slowNetwork(node: SimNode, stage: Stage): void {
  node.link.slownessMs = stage.world.pick([500, 2000, 4500]);
  stage.world.note(node.name, `its messages take up to ${node.link.slownessMs} ms`);
  forAWhile(stage, 20_000, () => node.link.mend());
}

function freeze(node: SimNode, stage: Stage): void {
  node.freeze();
  forAWhile(stage, 25_000, () => node.thaw());
}

function kill(node: SimNode, stage: Stage): void {
  node.kill();
  // What happens on a machine while no agent looks after it.
  if (stage.world.chance(0.3)) restartWorkload(node, stage);
  forAWhile(stage, 8000, () => node.start());
}

function reboot(node: SimNode, stage: Stage): void {
  node.reboot();
  forAWhile(stage, 10_000, () => node.start());
}

/** Something befalls a would-be leader at the worst moment: as it commits, or as it campaigns. */
function ambushLeader(node: SimNode, stage: Stage): void {
  const { world } = stage;
  const place = world.pick(["commit", "commit", "commit", "campaign", "readSourceStatus"] as const);
  const fate = world.pick([
    "held up",
    "held up",
    "held up",
    "answer lost",
    "killed",
    "frozen",
    "cut off",
    "overtaken",
  ] as const);
  node.ambush(place, () => {
    world.note(node.name, `ambushed at ${place}: ${fate}`);
    if (fate === "held up") {
      // It arrives when its sender leads no more, or is dead.
      node.link.next = { heldUpMs: world.between(6000, 14_000), isAnswerLost: false };
      world.pick([kill, freeze, () => undefined])(node, stage);
    } else if (fate === "answer lost") node.link.next = { heldUpMs: 5, isAnswerLost: true };
    else if (fate === "killed") kill(node, stage);
    else if (fate === "overtaken") stage.override();
    else if (fate === "frozen") freeze(node, stage);
    else partition(node, stage);
  });
}

/** A process dies, freezes, or takes its machine along, between two writes. */
function ambushWriter(node: SimNode, stage: Stage): void {
  const { world } = stage;
  const place = world.pick(["prepared", "switched", "attached", "disk", "observing"] as const);
  const fate = world.pick([kill, kill, reboot, freeze, tamper]);
  node.ambush(place, () => {
    world.note(node.name, `ambushed at ${place}`);
    fate(node, stage);
  });
}

/** The node gets to know of one more commit, and of nothing after it. */
function commitAndCutOff(node: SimNode, stage: Stage): void {
  stage.override();
  stage.world.time.after(stage.world.between(100, 3000), () => partition(node, stage));
}

function failApply(node: SimNode, stage: Stage): void {
  const { name, machine } = node;
  const workload = `default/w${name.slice(1)}`;
  if (stage.world.chance(0.5)) {
    stage.world.note(name, "its kernel refuses every write");
    machine.failApply = "no memory";
  } else {
    stage.world.note(name, `${workload} is started again, and its kernel refuses to attach to it`);
    machine.refused.add(workload);
    machine.restartWorkload(workload);
    if (stage.world.chance(0.5)) commitAndCutOff(node, stage);
  }
  forAWhile(stage, 15_000, () => {
    machine.failApply = null;
    machine.refused.clear();
  });
}

function failObserve({ name, machine }: SimNode, stage: Stage): void {
  stage.world.note(name, "its kernel cannot be read");
  machine.failObserve = "no permission";
  forAWhile(stage, 10_000, () => (machine.failObserve = null));
}

function tamper({ name, machine }: SimNode, { world }: Stage): void {
  const keys = [...machine.items.keys()];
  if (keys.length === 0) return;
  const key = world.pick(keys);
  world.note(name, `somebody removes ${key}`);
  machine.tamper(() => machine.items.delete(key));
}

function cgroupGoes({ name, machine }: SimNode, stage: Stage): void {
  const workload = `default/w${name.slice(1)}`;
  stage.world.note(name, `the cgroup of ${workload} goes`);
  machine.setAbsent(workload, true);
  forAWhile(stage, 15_000, () => machine.setAbsent(workload, false));
}

function restartWorkload({ name, machine }: SimNode, { world }: Stage): void {
  const workload = `default/w${name.slice(1)}`;
  world.note(name, `${workload} is started again`);
  machine.restartWorkload(workload);
}

function disk({ name, machine }: SimNode, stage: Stage): void {
  const isFull = stage.world.chance(0.4);
  stage.world.note(name, isFull ? "its disk is full" : "its disk is slow");
  if (isFull) machine.disk.isFull = true;
  else machine.disk.slownessMs = 6000;
  forAWhile(stage, 20_000, () => {
    machine.disk.isFull = false;
    machine.disk.slownessMs = 20;
  });
}

function loseDisk({ name, machine }: SimNode, { world }: Stage): void {
  world.note(name, "its last-good file is lost");
  machine.disk.state = null;
}

function sourceAway(stage: Stage): void {
  const away = stage.world.chance(0.5)
    ? stage.nodes
    : [stage.world.pick(stage.nodes.filter((node) => node.isCandidate))];
  stage.world.note("git", `out of reach for ${away.length === 1 ? (away[0]?.name ?? "") : "everybody"}`);
  for (const { remote } of away) remote.isDown = true;
  forAWhile(stage, 15_000, () => {
    for (const { remote } of away) remote.isDown = false;
  });
}

function rewind({ repository, world }: Stage): void {
  const older = repository.tips.filter((tip) => tip.content.kind === "valid" && tip !== repository.tip);
  if (older.length > 0) repository.rewind(world.pick(older));
}

function massDeletion(stage: Stage): void {
  const { world, repository, server } = stage;
  repository.push(stage.invent("mass"));
  const { id } = repository.tip;
  if (!world.chance(0.5)) return;
  world.time.after(world.between(1000, 20_000), () => {
    world.note("git", `an operator approves ${id.slice(0, 8)}`);
    void server.writeApproval({ commit: id, by: "op@host", reason: "", time: new Date(0).toISOString() });
  });
}

function suspend(stage: Stage): void {
  const { world, server } = stage;
  world.note("git", "an operator suspends the source");
  const since = new Date(world.time.now).toISOString();
  void server.writeSuspension({ by: "op@host", reason: "", since, until: null });
  forAWhile(stage, 12_000, () => {
    world.note("git", "an operator resumes the source");
    void server.writeSuspension(null);
  });
}

const FAULTS: readonly (readonly [weight: number, fault: Fault])[] = [
  [8, (stage) => stage.repository.push(stage.invent("valid"))],
  [2, (stage) => stage.repository.push(stage.invent("invalid"))],
  [2, rewind],
  [1, massDeletion],
  [1, suspend],
  [1, (stage) => stage.override()],
  [1, sourceAway],
  [3, onNode(partition)],
  [3, onCandidate(partition)],
  [1, outage],
  [2, onNode(slowNetwork)],
  [2, onCandidate(slowNetwork)],
  [2, onNode(kill)],
  [2, onCandidate(kill)],
  [3, onNode(reboot)],
  [1, onNode(freeze)],
  [3, onCandidate(freeze)],
  [10, onCandidate(ambushLeader)],
  [4, onNode(ambushWriter)],
  [1, onNode((node) => node.stop())],
  [1, onCandidate((node) => node.stop())],
  [2, onNode(failApply)],
  [1, onNode(failObserve)],
  [3, onNode(tamper)],
  [1, onNode(cgroupGoes)],
  [1, onNode(restartWorkload)],
  [2, onNode(disk)],
  [1, onNode(loseDisk)],
];

const TOTAL_WEIGHT = FAULTS.reduce((sum, [weight]) => sum + weight, 0);

function drawFault(world: World): Fault {
  let left = world.random.below(TOTAL_WEIGHT);
  for (const [weight, fault] of FAULTS) {
    if (left < weight) return fault;
    left -= weight;
  }
  throw new TypeError("the weights do not add up");
}

/** Draws faults for a time, and lets them happen. */
export function scheduleFaults(stage: Stage, forMs: number): void {
  const { world } = stage;
  for (let left = world.between(5, 30); left > 0; left -= 1) {
    const fault = drawFault(world);
    world.time.after(world.random.below(forMs), () => fault(stage));
  }
}

/** Ends all that is wrong with the world; what it did to agents and machines is theirs to mend. */
export function endFaults(stage: Stage): void {
  const { world, nodes, server, repository } = stage;
  world.note("world", "the faults end");
  for (const node of nodes) {
    const { machine, link, remote } = node;
    link.mend();
    remote.isDown = false;
    machine.mend();
    for (const workload of [...machine.absent]) machine.setAbsent(workload, false);
    node.thaw();
    node.start();
  }
  void server.writeSuspension(null);
  if (repository.tip.content.kind !== "valid") repository.push(stage.invent("valid"));
}
