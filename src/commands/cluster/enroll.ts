import { text } from "node:stream/consumers";
import { Args, Flags } from "@oclif/core";
import { BaseCommand } from "../../cli/base.js";
import { enrolledDocument, renderEnrolled } from "../../views/enrolment.js";
import { enrollNode } from "../../wiring/authority.js";

export default class ClusterEnroll extends BaseCommand {
  static override summary = "Get this node its certificate, with a token of ztap cluster token.";
  static override description =
    "The key is made here and never leaves. Nothing is sent to a server that has not the key that the token names. A node that has a good certificate keeps it, and the token.";
  static override examples = [
    "<%= config.bin %> cluster enroll ztap-enroll-1.eyJhZGR…",
    "<%= config.bin %> cluster enroll - < token",
  ];
  static override args = {
    token: Args.string({ ignoreStdin: true, description: "the token; - reads it from standard input", required: true }),
  };
  static override flags = {
    dir: Flags.string({ description: "folder of key and certificates", helpValue: "DIR", default: "/etc/ztap/etcd" }),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ClusterEnroll);
    const token = args.token === "-" ? await text(process.stdin) : args.token;
    const enrolled = await enrollNode(token, flags.dir);
    this.print(flags, enrolledDocument(enrolled), () => renderEnrolled(enrolled, this.style));
  }
}
