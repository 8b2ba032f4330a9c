import { Flags } from "@oclif/core";
import { ListCommand } from "../../cli/list-command.js";
import { OUTPUT_FLAGS, WATCH_FLAG } from "../../cli/output.js";
import type { Store } from "../../interfaces/store.js";
import type { CertificateExpiry } from "../../model/certificate.js";
import { describeExpiries } from "../../operations/cluster/certificates.js";
import {
  laggingOf,
  progressOf,
  readClusterStatus,
  type ClusterStatus,
  type Progress,
} from "../../operations/cluster/membership.js";
import { clusterStatusDocument, renderClusterStatus } from "../../views/cluster.js";
import { wrapLines } from "../../views/wrap.js";
import { systemClock } from "../../wiring/host.js";
import { readExpiries, withExistingStore } from "../../wiring/store.js";

export default class ClusterStatusCommand extends ListCommand {
  static override summary = "Show head, leader, source and nodes.";
  static override examples = [
    "<%= config.bin %> cluster status -o wide",
    "<%= config.bin %> cluster status --lagging --watch",
  ];
  static override flags = {
    ...OUTPUT_FLAGS,
    ...WATCH_FLAG,
    lagging: Flags.boolean({
      description: "only the nodes that do not enforce all of head, each with the reason",
      env: "ZTAP_LAGGING",
    }),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(ClusterStatusCommand);
    const settings = await this.settings(flags);
    const read = async (store: Store): Promise<Found> => {
      const whole = await readClusterStatus({ store, clock: systemClock });
      const status = flags.lagging ? laggingOf(whole) : whole;
      return { status, progress: progressOf(whole), certificates: await readExpiries(settings) };
    };
    const document = ({ status, progress, certificates }: Found): object =>
      clusterStatusDocument(status, progress, certificates);
    const text = ({ status, progress, certificates }: Found): string => {
      const expiring = describeExpiries(certificates, systemClock.now());
      return renderClusterStatus(status, this.style, { expiring, isWide: flags.output === "wide", progress });
    };
    if (flags.watch)
      return this.follow(settings, flags, { read, document }, (found) =>
        this.log(`${wrapLines(text(found), this.style.width)}\n`),
      );
    const found = await withExistingStore(settings, read);
    await this.present(flags, document(found), () => text(found));
  }
}

interface Found {
  readonly status: ClusterStatus;
  readonly progress: Progress;
  readonly certificates: readonly CertificateExpiry[];
}
