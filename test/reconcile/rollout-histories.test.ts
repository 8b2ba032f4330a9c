/**
 * Random histories of a fleet during rollouts; see rollout-world.ts. Whatever befalls it, no node enforces what is not released
 * to it, no wave begins after a gate failed, before its time or twice, and the fleet comes to rest once all is well again.
 * `ZTAP_SEED` repeats one history, `ZTAP_HISTORIES` says how many there are.
 */
import t from "tap";
import { SeededRandom } from "../fakes/random.js";
import { RolloutWorld } from "./rollout-world.js";

const HISTORIES = Number(process.env["ZTAP_HISTORIES"] ?? 60);

/** Something happens, mostly nothing. */
async function befall(world: RolloutWorld): Promise<void> {
  const { random, nodes, leaders } = world;
  const node = nodes[random.below(nodes.length)];
  const leader = leaders[random.below(leaders.length)];
  if (node === undefined || leader === undefined) return;
  const events: readonly (() => unknown)[] = [
    () => world.commit("good"),
    () => world.commit("good"),
    () => world.commit("bad"),
    () => world.commit("denying"),
    () => world.commit("good", true),
    () => void (node.isAlive = !node.isAlive),
    () => void (node.isAlive = !node.isAlive),
    () => void (node.link.isDown = !node.link.isDown),
    () => void (node.isLiar = !node.isLiar),
    () => void (node.isOld = random.below(4) === 0),
    () => void (leader.link.isDown = !leader.link.isDown),
    () => void (leader.isFrozen = !leader.isFrozen),
    () => leader.restart(),
    () => leader.restart(),
    () => world.operate("pause"),
    () => world.operate("resume"),
    () => world.operate("retry"),
    () => world.operate("promote"),
    () => world.operate("promote all"),
    () => world.operate("abort"),
    () => leaders.forEach((one) => void (one.link.isDown = true)),
    () => leaders.forEach((one) => void (one.link.isDown = false)),
  ];
  await events[random.below(events.length)]?.();
}

async function live(seed: number): Promise<RolloutWorld> {
  const random = new SeededRandom(seed);
  const world = new RolloutWorld(random, 4 + random.below(5));
  for (const node of world.nodes)
    await world.store.joinMember({ id: node.name, address: "a:1", joinedAt: "2026-01-01T00:00:00.000Z" });
  await world.commit("good");
  await world.tick(1000);
  await world.commit(random.below(2) ? "good" : "bad");
  const steps = 20 + random.below(60);
  for (let step = 0; step < steps && world.violations.length === 0; step += 1) {
    if (random.below(5) === 0) await befall(world);
    await world.tick(1000 + random.below(9) * 1000);
  }
  await settle(world);
  return world;
}

/** Once all is well, a harmless commit reaches every node; the longest wait is for a freeze window, and clocks differ. */
async function settle(world: RolloutWorld): Promise<void> {
  if (world.violations.length > 0) return;
  world.heal();
  await world.commit("good");
  await world.operate("resume");
  for (let step = 0; step < 1200; step += 1) {
    await world.tick(10_000);
    const { head, rollout } = await world.release();
    const isOver = rollout === null || rollout.state === "complete";
    if (isOver && world.nodes.every(({ enforced }) => enforced === head)) return;
  }
  const { head, rollout } = await world.release();
  world.fail(
    `no rest: head ${head}, ${JSON.stringify(rollout)}; ${world.nodes.map(({ enforced }) => enforced).join()}`,
  );
}

const given = process.env["ZTAP_SEED"];

t.test("rollouts", async (t) => {
  const counts = new Map<string, number>();
  for (let index = 0; index < (given === undefined ? HISTORIES : 1); index += 1) {
    const seed = given === undefined ? index + 1 : Number(given);
    const world = await live(seed);
    if (world.violations.length > 0) {
      t.fail(`seed ${seed}: ${world.violations[0]}`);
      break;
    }
    for (const [what, count] of Object.entries(world.counts)) counts.set(what, (counts.get(what) ?? 0) + count);
  }
  if (given !== undefined) return;
  for (const what of [
    "waves begun",
    "completed by itself",
    "failed",
    "aborted",
    "paused",
    "promote",
    "frozen in a run",
  ])
    t.ok((counts.get(what) ?? 0) > HISTORIES / 10, `${what}: ${counts.get(what) ?? 0}`);
});
