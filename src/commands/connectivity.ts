import { Flags } from "@oclif/core";
import { NAMESPACE_FILTER, OUTPUT_FLAGS } from "../cli/output.js";
import { STATE_ARGS, STATE_FLAGS, StateCommand } from "../cli/state-command.js";
import { readPortRange } from "../operations/query/port-syntax.js";
import { eachConnection } from "../policy/reachability/connectivity.js";
import { ofNamespace } from "../model/connection.js";
import { connectivityDocument, renderConnectivity } from "../views/connectivity.js";

export default class Connectivity extends StateCommand {
  static override summary = "Show every allowed connection between workloads and address blocks.";
  static override description =
    "Reads a folder's work tree, or with --ref (and for a URL) a commit. docs/connectivity.md describes the list.";
  static override examples = [
    "<%= config.bin %> connectivity",
    "<%= config.bin %> connectivity policies/ --port 5432/tcp --json",
  ];
  static override args = STATE_ARGS;
  static override flags = {
    ...STATE_FLAGS,
    ...OUTPUT_FLAGS,
    ...NAMESPACE_FILTER,
    port: Flags.string({
      description: "only these ports: 80/tcp, 8000-8010/udp, 8/icmp",
      env: "ZTAP_PORT",
      helpValue: "PORT/PROTO",
    }),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Connectivity);
    const within = flags.port === undefined ? {} : { within: [readPortRange(flags.port)] };
    const desired = await this.readState(args.source, flags);
    const connections = ofNamespace(eachConnection(desired.objects, within), flags.namespace);
    const { output } = flags;
    const pieces =
      output === "json" || output === "yaml"
        ? connectivityDocument(desired.source, connections, output)
        : renderConnectivity(desired.objects, connections, this.style);
    for (const piece of pieces) this.log(piece);
  }
}
