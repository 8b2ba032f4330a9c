import { Args, Flags } from "@oclif/core";
import { StateCommand } from "../../cli/state-command.js";
import { bootstrapDocument, renderBootstrapped } from "../../views/bootstrap.js";
import { bootstrap } from "../../wiring/authority.js";

const DAY_MS = 24 * 3_600_000;

const names = (description: string, helpValue = "NAME,…") =>
  Flags.string({ description, helpValue, multiple: true, delimiter: "," });

export default class ClusterBootstrap extends StateCommand {
  static override summary =
    "Write what a cluster needs: certificates, the settings of etcd's members, users and roles.";
  static override description =
    "The folder holds the authority and cluster.yaml, which says who belongs to the cluster; flags add to that file. Another run adds what is missing, and renews what expires within 30 days. A key is never replaced.";
  static override examples = [
    "<%= config.bin %> cluster bootstrap ./shop --members m1=10.0.0.1,m2=10.0.0.2,m3=10.0.0.3 --nodes web-1,web-2 --leaders web-1,web-2 --operators ada",
    "<%= config.bin %> cluster bootstrap ./shop --apply",
  ];
  static override args = {
    dir: Args.string({ ignoreStdin: true, description: "folder of the authority", required: true }),
  };
  static override flags = {
    members: names("members of etcd to add; + before each further address of one", "NAME=ADDRESS,…"),
    nodes: names("nodes to add; their keys are made here"),
    "nodes-from": Flags.string({
      description: "folder or Git URL of policies whose Node objects are added to the nodes",
      helpValue: "LOCATION",
    }),
    enrolled: names("nodes to add that make their own keys and enroll with a token"),
    leaders: names("nodes that may lead"),
    operators: names("people to add, who apply and register nodes"),
    days: Flags.integer({
      description: "validity of new certificates",
      helpValue: "DAYS",
      min: 1,
      max: 3650,
      default: 365,
    }),
    apply: Flags.boolean({ description: "also make etcd's users and roles, and turn on its authentication" }),
    prune: Flags.boolean({
      description:
        "with --apply, delete etcd's users that were made from this folder, and that cluster.yaml no longer lists",
      dependsOn: ["apply"],
    }),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ClusterBootstrap);
    const { members = [], nodes = [], enrolled = [], leaders = [], operators = [], apply, prune } = flags;
    const validForMs = flags.days * DAY_MS;
    const declared = flags["nodes-from"] === undefined ? [] : await this.#declaredNodes(flags["nodes-from"], flags);
    const all = [...nodes, ...declared.filter((name) => !enrolled.includes(name))];
    const done = await bootstrap(
      args.dir,
      { members, nodes: all, enrolled, leaders, operators },
      { validForMs, apply, prune, waiting: (what) => this.sayWaiting(what) },
    );
    this.print(flags, bootstrapDocument(done), () => renderBootstrapped(done, this.style));
  }

  /** The names of the Node objects of a policy repository. */
  async #declaredNodes(location: string, flags: Readonly<Record<string, unknown>>): Promise<readonly string[]> {
    const { objects } = await this.readState(location, { ...flags, ref: undefined });
    return [...objects.values()].flatMap(({ object }) => (object.kind === "Node" ? [object.metadata.name] : []));
  }
}
