import { Args, Flags } from "@oclif/core";
import { BaseCommand } from "../../cli/base.js";
import { untilSignal } from "../../cli/signals.js";
import { OperationError } from "../../model/operation-error.js";
import { parseHostPort } from "../../settings/types.js";
import { serveAuthority } from "../../wiring/authority.js";
import { openLogger } from "../../wiring/log.js";

export default class ClusterAuthority extends BaseCommand {
  static override summary = "Serve enrolment: give certificates to nodes that have a token, until stopped.";
  static override description =
    "Needs the folder of the authority, so run it on the host that keeps it, and only while nodes enroll. Also makes the users and roles of new nodes in etcd, if it reaches it. Logs go to stderr.";
  static override examples = ["<%= config.bin %> cluster authority ./shop --listen 10.0.0.9:9471"];
  static override args = {
    dir: Args.string({ ignoreStdin: true, description: "folder of the authority", required: true }),
  };
  static override flags = {
    listen: Flags.string({ description: "address to serve on", helpValue: "HOST:PORT", required: true }),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ClusterAuthority);
    const listen = parseHostPort(flags.listen);
    if (listen === null) throw new OperationError("usage", "--listen: wanted host:port or [IPv6]:port");
    const logger = await openLogger(await this.settings({ ...flags, listen: undefined }));
    await untilSignal((signal) => serveAuthority(args.dir, listen, logger, signal));
  }
}
