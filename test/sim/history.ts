/**
 * One history: ten agents, three of which may lead, through a minute of faults and to rest. The same seed gives the same
 * history, to the letter of its trace.
 */
import { readManifests } from "../../src/manifest/read.js";
import { makeContent, nodeName, NODES, type Content } from "./content.js";
import { endFaults, scheduleFaults, type Stage } from "./faults.js";
import { SimMachine } from "./machine.js";
import { SimNode, type Breakage } from "./node.js";
import { SimServer, type OpenStore } from "./server.js";
import { SimRepository } from "./source.js";
import { WALL_START_MS, World } from "./world.js";

const CANDIDATES = 3;
const FAULTS_MS = 50_000;
/** How long everybody has to come to rest once nothing goes wrong any more. */
const REST_MS = 180_000;
/** How often each machine is looked at, whether it has been mended. */
const HEAL_LOOK_MS = 5000;
/** How often it is looked whether all have come to rest. */
const LOOK_MS = 1000;

export interface HistoryOptions {
  readonly openStore?: OpenStore;
  readonly breakage?: Breakage;
}

export class History {
  readonly world: World;
  readonly #stage: Stage;
  #isAtRest = false;

  constructor(seed: number, { openStore, breakage = {} }: HistoryOptions = {}) {
    const world = new World(seed);
    const repository = new SimRepository(world);
    const contents: Content[] = [];
    const server = new SimServer(world, { contents, repository }, openStore);
    const invent = (kind: Content["kind"]): Content => {
      const content = makeContent(world, contents.length, kind);
      contents.push(content);
      return content;
    };
    const around = { server, repository, read: readOnce, breakage };
    const nodes = Array.from({ length: NODES }, (_unused, index) => {
      const machine = new SimMachine(world, nodeName(index), { server, contents });
      const skewMs = world.between(-2000, 2000);
      return new SimNode(world, nodeName(index), machine, around, index < CANDIDATES, skewMs);
    });
    this.world = world;
    this.#stage = {
      world,
      nodes,
      server,
      repository,
      invent,
      override: () => override(world, server, invent("valid")),
    };
    repository.push(invent("valid"));
    for (const node of nodes) world.time.after(world.random.below(3000), () => node.start());
    scheduleFaults(this.#stage, FAULTS_MS);
    const checkHealed = (): void => {
      for (const node of nodes) node.checkHealed();
      world.time.after(HEAL_LOOK_MS, checkHealed);
    };
    checkHealed();
    world.time.after(FAULTS_MS, () => {
      endFaults(this.#stage);
      this.#look();
    });
    world.time.after(FAULTS_MS + REST_MS, () => world.fail("world", `no rest: ${this.#restless() ?? "none"}`));
  }

  /** The next event; false where the history is over, at rest or with a violation. */
  step(): boolean {
    return !this.#isAtRest && this.world.violation === null && this.world.time.step();
  }

  /** Whether something waits for a turn of the event loop, and not only for virtual time. */
  get needsTurn(): boolean {
    return this.#stage.server.isPruning;
  }

  #look(): void {
    if (this.#restless() !== null) return void this.world.time.after(LOOK_MS, () => this.#look());
    this.world.note("world", "at rest");
    this.#isAtRest = true;
  }

  /** What has not come to rest yet; null where all has. */
  #restless(): string | null {
    const { server, repository, nodes } = this.#stage;
    const { head } = server;
    if (head === null) return "nothing was committed";
    if (head.content !== repository.tip.content.number)
      return `head is content ${head.content ?? "?"}, and the branch says ${repository.tip.content.number}`;
    for (const { name, machine } of nodes) {
      const lack = machine.protection.lacks(head.content);
      if (lack !== null) return `${name}: ${lack}`;
      const said = server.reports.get(name);
      if (said?.state !== "InSync" || said.enforcedRevision !== head.revision.number)
        return `${name} reports ${said?.state ?? "nothing"}, revision ${said?.enforcedRevision ?? "none"}`;
    }
    const { state, acceptedCommit } = server.sourceStatus ?? {};
    if (state !== "Synced" || acceptedCommit !== repository.tip.id) return `the source is ${state ?? "unread"}`;
    return null;
  }
}

const readings = new Map<string, ReturnType<typeof readManifests>>();

/** Reading is pure, and the same texts come again in all histories. */
const readOnce: typeof readManifests = (files) => {
  const key = files.map(({ text }) => text).join();
  const found = readings.get(key) ?? readManifests(files);
  readings.set(key, found);
  return found;
};

/** What an operator applies by hand, over whatever is head. */
function override(world: World, server: SimServer, { number, text }: Content): void {
  const { objects } = readOnce([{ path: "state.yaml", text, blobId: `content-${number}` }]);
  world.note("op", `applies content ${number}`);
  void server.commit(
    {
      objects: [...objects.values()],
      source: { location: "/home/op", commit: null, dirty: true, author: null, subject: null },
      node: "op",
      author: "op@host",
      reason: "apply",
      commitId: world.random.id(),
      time: new Date(WALL_START_MS + world.time.now).toISOString(),
    },
    { expectHead: server.head?.revision.number ?? null, fence: null },
  );
}
