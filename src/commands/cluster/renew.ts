import { Flags } from "@oclif/core";
import { BaseCommand } from "../../cli/base.js";
import { OperationError } from "../../model/operation-error.js";
import { isHostAndPort } from "../../settings/types.js";
import { renderRenewed, renewedDocument } from "../../views/enrolment.js";
import { renewNodeFiles } from "../../wiring/enrolment.js";

export default class ClusterRenew extends BaseCommand {
  static override summary = "Get this node its next certificate, with the one that it has.";
  static override description =
    "Needs ztap cluster authority at work, and no token. Does nothing while the certificate is good for more than 30 days, so that a timer can run it. A running agent uses the new certificate by itself. One that has expired needs a token.";
  static override examples = [
    "<%= config.bin %> cluster renew",
    "<%= config.bin %> cluster renew --new-key --address 10.0.0.9:9471",
  ];
  static override flags = {
    address: Flags.string({
      description: "where ztap cluster authority is; without it, where this node enrolled",
      helpValue: "HOST:PORT",
    }),
    "new-key": Flags.boolean({ description: "make another key, however long the certificate is good" }),
    dir: Flags.string({ description: "folder of key and certificates", helpValue: "DIR", default: "/etc/ztap/etcd" }),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(ClusterRenew);
    const { address } = flags;
    if (address !== undefined && !isHostAndPort(address))
      throw new OperationError("usage", "--address: wanted host:port or [IPv6]:port");
    const waiting = (what: string): void => this.sayWaiting(what);
    const renewed = await renewNodeFiles(flags.dir, { address, newKey: flags["new-key"], waiting });
    this.print(flags, renewedDocument(renewed), () => renderRenewed(renewed, this.style));
  }
}
