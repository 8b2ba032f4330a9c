/**
 * Shadow of a coming ruleset: it stands in the table set that is not in force, and what begins is evaluated by both; see
 * docs/adr/0026-shadow.md.
 *
 * Guarantees: nothing is written into that set while a program may evaluate by it; whatever writes there or switches ends the shadow first;
 * what is in force decides as before at every moment.
 */
import { EnforcerError, type Shadow, type ShadowReading } from "../../interfaces/enforcer.js";
import type { Ruleset } from "../../model/ruleset.js";
import { liveDifferences } from "./live-differences.js";
import type { LiveConnections } from "./maps/live-connections.js";
import type { EventRing } from "./maps/event-ring.js";
import type { ShadowCounts } from "./maps/shadow-counts.js";
import type { SetIndex, TableSets } from "./maps/table-sets.js";
import { allSubjects, type Image, type ImageSubject } from "./lower/image.js";

/** What an enforcer does for a shadow. */
export interface ShadowSteps {
  readonly lower: (ruleset: Ruleset) => Image;
  /** Whether the set that is not in force holds what the kernel would return to. */
  readonly isOnTrial: () => boolean;
  /** Writes a ruleset into the set that is not in force, for the workloads of the one that is. */
  readonly prepare: (coming: Ruleset, inForce: Ruleset) => Promise<SetIndex>;
}

/**
 * Returns the image that is written for a shadow. Where both rulesets have the same addresses, what is in force has looked up whether the
 * source of a packet is the workload's own: that is not done twice.
 */
export function shadowImage(image: Image, coming: Ruleset, inForce: Ruleset): Image {
  if (addressesOf(coming) !== addressesOf(inForce)) return image;
  const withoutSources = <T extends ImageSubject>(subjects: ReadonlyMap<string, T>): ReadonlyMap<string, T> =>
    new Map([...subjects].map(([name, one]) => [name, { ...one, record: { ...one.record, hasOwnSources: false } }]));
  return { ...image, subjects: withoutSources(image.subjects), templates: withoutSources(image.templates) };
}

function addressesOf({ subjects, births }: Ruleset): string {
  const all = [...subjects, ...(births?.templates ?? []).map(({ subject }) => subject)];
  return JSON.stringify(all.map(({ workload, addresses }) => [workload, addresses]));
}

export class KernelShadow implements Shadow {
  /** Of the shadow that this process began. */
  #images: { readonly coming: Image; readonly inForce: Image } | null = null;

  constructor(
    private readonly counts: ShadowCounts,
    private readonly tables: TableSets,
    private readonly live: Pick<LiveConnections, "list">,
    private readonly events: Pick<EventRing, "learnComing">,
    private readonly steps: ShadowSteps,
  ) {}

  async begin(coming: Ruleset, inForce: Ruleset, key: string, now: number): Promise<void> {
    const { tables, counts, steps } = this;
    if (steps.isOnTrial()) throw new EnforcerError("busy", "no shadow stands while a ruleset is on trial");
    this.end();
    // The images name what is counted; both were lowered before.
    const images = { coming: steps.lower(coming), inForce: steps.lower(inForce) };
    await tables.settled();
    const isNew = !counts.isOf(key);
    const prepared = await steps.prepare(coming, inForce);
    if (isNew) {
      const [held, wanted] = [
        { ruleset: inForce, image: images.inForce },
        { ruleset: coming, image: images.coming },
      ];
      counts.begin(key, now, liveDifferences(await this.live.list(), held, wanted));
    }
    this.events.learnComing(images.coming);
    tables.beginShadow(prepared);
    this.#images = images;
  }

  end(): void {
    this.tables.endShadow();
    this.events.learnComing(null);
    this.#images = null;
  }

  read(): ShadowReading | null {
    const images = this.#images;
    if (images === null || !this.tables.isShadowed()) return null;
    const workloads = new Map([...allSubjects(images.inForce)].map(([workload, { id }]) => [id, workload]));
    const differences = this.counts.counts().flatMap(({ subject, rule, comingRule, ...count }) => {
      const workload = workloads.get(subject);
      return workload === undefined
        ? []
        : [
            {
              ...count,
              workload,
              rule: images.inForce.rules.get(rule) ?? null,
              comingRule: images.coming.rules.get(comingRule) ?? null,
            },
          ];
    });
    return { ...this.counts.totals(), differences };
  }
}
