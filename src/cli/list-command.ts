/** The common parts of commands that list what the store has: formats, and watching. */
import { printableJson } from "../model/printable.js";
import type { Store } from "../interfaces/store.js";
import { watchList } from "../operations/query/watch-list.js";
import type { Settings } from "../settings/settings.js";
import { renderListing, WatchedListing, type ListTable } from "../views/listing.js";
import type { Style } from "../views/style.js";
import { systemClock } from "../wiring/host.js";
import { withStore } from "../wiring/store.js";
import { BaseCommand } from "./base.js";
import { untilSignal } from "./signals.js";

interface ListFlags {
  readonly output: "table" | "wide" | "json" | "yaml" | undefined;
  readonly "no-headers": boolean;
  readonly watch: boolean;
}

/** How a list is read, and shown. */
export interface ListSource<T> {
  readonly read: (store: Store) => Promise<T>;
  readonly document: (list: T) => object;
  readonly listing: (list: T, style: Style, isWide: boolean) => ListTable;
}

export abstract class ListCommand extends BaseCommand {
  protected async list<T>(settings: Settings, flags: ListFlags, source: ListSource<T>): Promise<void> {
    await withStore(settings, { create: false }, async (store) => {
      if (flags.watch) await untilSignal((signal) => this.#watch(store, flags, source, signal));
      else await this.#print(await source.read(store), flags, source);
    });
  }

  async #print<T>(list: T, flags: ListFlags, { document, listing }: ListSource<T>): Promise<void> {
    if (flags.output === "json" || flags.output === "yaml") return this.present(flags, document(list), () => "");
    const isWide = flags.output === "wide";
    const headers = !flags["no-headers"];
    const shown = listing(list, this.style, isWide);
    const text = renderListing(shown, this.style, { wide: isWide, headers });
    // A script that counts rows wants no other line on stdout.
    if (text !== "") this.log(text);
    if (!headers && shown.notes.length > 0) this.logToStderr(shown.notes.join("\n").trim());
  }

  async #watch<T>(store: Store, flags: ListFlags, source: ListSource<T>, signal: AbortSignal): Promise<void> {
    const { output, "no-headers": noHeaders } = flags;
    const isWide = output === "wide";
    const watched = new WatchedListing(this.style, { wide: isWide, headers: !noHeaders });
    for await (const list of watchList({ store, clock: systemClock }, () => source.read(store), signal)) {
      if (output === "json") this.log(printableJson(source.document(list)));
      else if (output === "yaml") {
        this.log("---");
        await this.present(flags, source.document(list), () => "");
      } else {
        const { lines, notes } = watched.update(source.listing(list, this.style, isWide));
        if (lines.length > 0) this.log(lines.join("\n"));
        if (notes.length > 0 && !noHeaders) this.log(notes.join("\n"));
        else if (notes.length > 0) this.logToStderr(notes.join("\n").trim());
      }
    }
  }
}
