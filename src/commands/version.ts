import { BaseCommand } from "../cli/base.js";
import { OUTPUT_FLAGS } from "../cli/output.js";

export default class VersionCommand extends BaseCommand {
  static override summary = "Show the version of ztap, of Node.js and of the machine.";
  static override flags = OUTPUT_FLAGS;

  async run(): Promise<void> {
    const { flags } = await this.parse(VersionCommand);
    const { version, platform, arch } = this.config;
    const document = { formatVersion: 1, version, node: process.versions.node, platform, arch };
    await this.present(
      flags,
      document,
      () => `ztap ${version} (Node.js ${process.versions.node}, ${platform}-${arch})`,
    );
  }
}
