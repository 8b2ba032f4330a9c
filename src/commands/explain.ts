import { Flags } from "@oclif/core";
import { NAMESPACE_FLAG, OUTPUT_FLAGS } from "../cli/output.js";
import { STATE_ARGS, STATE_FLAGS, StateCommand } from "../cli/state-command.js";
import { explainConnection } from "../operations/query/explain.js";
import { explainDocument, renderExplanation } from "../views/explain.js";

export default class Explain extends StateCommand {
  static override summary = "Show whether a connection is allowed, and the rules that decide it.";
  static override description =
    "A and B are namespace/workload or IP addresses (IPv6 with a port in brackets). PORT is a number, a port name of the workload, or for ICMP a type or type.code; PROTO is TCP (the default), UDP, SCTP or ICMP.";
  static override examples = [
    "<%= config.bin %> explain --from default/web --to default/db:5432/TCP",
    "<%= config.bin %> explain policies/ --from 192.0.2.7 --to default/web:http",
    "<%= config.bin %> explain --from default/web --to [2001:db8::1]:443/TCP --json",
  ];
  static override args = STATE_ARGS;
  static override flags = {
    ...OUTPUT_FLAGS,
    ...STATE_FLAGS,
    ...NAMESPACE_FLAG,
    from: Flags.string({
      description: "initiator of the connection",
      env: "ZTAP_FROM",
      helpValue: "A",
      required: true,
    }),
    to: Flags.string({
      description: "destination of the connection",
      env: "ZTAP_TO",
      helpValue: "B:PORT/PROTO",
      required: true,
    }),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Explain);
    const { objects } = await this.readState(args.source, flags);
    const explained = explainConnection(objects, flags.from, flags.to, flags.namespace);
    await this.present(flags, explainDocument(explained), () => renderExplanation(explained, this.style));
  }
}
