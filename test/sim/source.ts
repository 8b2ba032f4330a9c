/**
 * The repository: commits that are valid, commits that are not, and a branch that may go back to an older one. Each leader
 * has a way of its own to it.
 */
import type { Snapshot, Source } from "../../src/interfaces/source.js";
import { SourceError } from "../../src/interfaces/source.js";
import type { Content } from "./content.js";
import type { SimProcess } from "./process.js";
import type { World } from "./world.js";

export interface SimCommit {
  readonly id: string;
  readonly parent: SimCommit | null;
  readonly content: Content;
}

const LOCATION = "https://git.example.com/policies.git";

export class SimRepository {
  readonly commits = new Map<string, SimCommit>();
  /** What the branch pointed at, one after the other: a commit comes again where the branch went back. */
  readonly tips: SimCommit[] = [];

  constructor(private readonly world: World) {}

  get tip(): SimCommit {
    const tip = this.tips.at(-1);
    if (tip === undefined) throw new TypeError("the repository is empty");
    return tip;
  }

  push(content: Content): void {
    const id = `${content.number.toString(16).padStart(8, "0")}${this.world.random.id()}`;
    const commit = { id, parent: this.tips.at(-1) ?? null, content };
    this.commits.set(id, commit);
    this.tips.push(commit);
    this.world.note("git", `commit ${id.slice(0, 8)}: content ${content.number}, ${content.kind}`);
  }

  /** Points the branch at a commit that it pointed at before. */
  rewind(commit: SimCommit): void {
    this.tips.push(commit);
    this.world.note("git", `the branch goes back to ${commit.id.slice(0, 8)}`);
  }

  isAncestor(ancestor: string, commit: SimCommit): boolean {
    for (let at: SimCommit | null = commit; at !== null; at = at.parent) if (at.id === ancestor) return true;
    return false;
  }
}

/** A machine's way to the repository. */
export class Remote {
  isDown = false;
}

export class SimSource implements Source {
  readonly location = LOCATION;

  constructor(
    private readonly repository: SimRepository,
    private readonly remote: Remote,
    private readonly process: SimProcess,
    private readonly delayMs: () => number,
  ) {}

  async readTip(): Promise<string> {
    await this.#reach();
    return this.repository.tip.id;
  }

  async fetch(id?: string, since?: string): Promise<Snapshot> {
    await this.#reach();
    const { tip, commits } = this.repository;
    const commit = id === undefined ? tip : commits.get(id);
    if (commit === undefined) throw new SourceError("git-failed", `there is no commit ${id ?? ""}`);
    const { text, number } = commit.content;
    return {
      source: { location: LOCATION, commit: commit.id, dirty: false, author: "Ada <ada@example.com>", subject: "s" },
      files: [{ path: "state.yaml", text, blobId: `content-${number}` }],
      ...(since === undefined ? {} : { rewritten: !this.repository.isAncestor(since, commit) }),
    };
  }

  async #reach(): Promise<void> {
    await this.process.pause(this.delayMs());
    if (this.remote.isDown) throw new SourceError("source-unreachable", "the repository cannot be reached");
  }
}
