import { text } from "node:stream/consumers";
import { Args, Flags } from "@oclif/core";
import { askSecret } from "../../cli/ask.js";
import { BaseCommand } from "../../cli/base.js";
import { OperationError } from "../../model/operation-error.js";
import { enrolledDocument, renderEnrolled } from "../../views/enrolment.js";
import { enrollNode, readTokenFile } from "../../wiring/enrolment.js";

export default class ClusterEnroll extends BaseCommand {
  static override summary = "Get this node its certificate, with a token of ztap cluster token.";
  static override description =
    "The token is read from standard input, or from a file, and on a terminal it is asked for: other users can read a command line. The key is made here and never leaves. Nothing is sent to a server that has not the key that the token names. A node that has a good certificate keeps it, and the token.";
  static override examples = [
    "<%= config.bin %> cluster enroll",
    "<%= config.bin %> cluster enroll - < token",
    "<%= config.bin %> cluster enroll --token-file /run/ztap-token",
  ];
  static override args = {
    input: Args.string({ ignoreStdin: true, description: "-: read the token from standard input" }),
  };
  static override flags = {
    "token-file": Flags.string({
      description: "file that holds the token, and that no other user can read",
      helpValue: "FILE",
    }),
    dir: Flags.string({ description: "folder of key and certificates", helpValue: "DIR", default: "/etc/ztap/etcd" }),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ClusterEnroll);
    const token = await readToken(args.input, flags["token-file"]);
    const enrolled = await enrollNode(token, flags.dir, (what) => this.sayWaiting(what));
    this.print(flags, enrolledDocument(enrolled), () => renderEnrolled(enrolled, this.style));
  }
}

async function readToken(input: string | undefined, file: string | undefined): Promise<string> {
  // What was given in its place is not quoted: it may be a token.
  if (input !== undefined && input !== "-")
    throw new OperationError(
      "usage",
      "a token is not given on the command line, which every user of this machine can read: use standard input (-), --token-file, or a terminal; if a token was given, use another one",
    );
  if (input !== undefined && file !== undefined)
    throw new OperationError("usage", "the token comes either from standard input (-), or from --token-file");
  if (file !== undefined) return readTokenFile(file);
  return input === undefined && process.stdin.isTTY ? askSecret("Token") : text(process.stdin);
}
