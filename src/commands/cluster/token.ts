import { Args, Flags } from "@oclif/core";
import { BaseCommand } from "../../cli/base.js";
import { OperationError } from "../../model/operation-error.js";
import { isHostAndPort, parseDuration } from "../../settings/types.js";
import { encodeToken } from "../../operations/bootstrap/token.js";
import { renderToken, tokenDocument } from "../../views/enrolment.js";
import { makeNodeToken } from "../../wiring/authority.js";

export default class ClusterToken extends BaseCommand {
  static override summary = "Make a token with which one new node gets its certificate, once.";
  static override description =
    "Adds the node to cluster.yaml, and ends the renewals of a certificate that the name had before. The token names the authority's address and key, and is a secret until it is used. It alone is printed on standard output.";
  static override examples = ["<%= config.bin %> cluster token ./shop web-4 --address 10.0.0.9:9471"];
  static override args = {
    dir: Args.string({ ignoreStdin: true, description: "folder of the authority", required: true }),
    node: Args.string({ ignoreStdin: true, description: "name of the node", required: true }),
  };
  static override flags = {
    address: Flags.string({
      description: "where the node reaches ztap cluster authority",
      helpValue: "HOST:PORT",
      required: true,
    }),
    for: Flags.string({ description: "how long it is good", helpValue: "TIME", default: "1h" }),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ClusterToken);
    if (!isHostAndPort(flags.address)) throw new OperationError("usage", "--address: wanted host:port or [IPv6]:port");
    const forMs = parseDuration("--for", flags.for);
    const made = await makeNodeToken(args.dir, args.node, flags.address, forMs);
    if (!flags.json) this.logToStderr(renderToken(made, this.style));
    this.print(flags, tokenDocument(made), () => encodeToken(made.token));
  }
}
