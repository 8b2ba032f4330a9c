/**
 * Validates stored or saved objects again as manifests. A canonical object is a document of its kind; conflicts between
 * objects show only in the whole set.
 */
import { canonicalJson, digestOf } from "../../model/digest.js";
import type { ObjectPosition } from "../../model/objects.js";
import type { StateObject } from "../../model/state.js";
import { escapeDoubtful } from "../../manifest/yaml/characters.js";
import type { Manifests, readManifests } from "../../manifest/read.js";

export interface KeptObject {
  readonly object: object;
  readonly position?: ObjectPosition | undefined;
}

/**
 * Reads the objects. They and their diagnostics get the positions that the objects once had; those without a position
 * get `origin#number`.
 */
export function rereadObjects(kept: readonly KeptObject[], read: typeof readManifests, origin: string): Manifests {
  const nameOf = (index: number) => `${origin}#${index}`;
  const positions = new Map(kept.map(({ position }, index) => [nameOf(index), position]));
  const files = kept.map(({ object }, index) => ({
    path: nameOf(index),
    text: escapeDoubtful(canonicalJson(object)),
    blobId: digestOf(object),
  }));
  const { objects, diagnostics, omitted } = read(files);
  const placed = [...objects].map(([key, { position, ...object }]): readonly [string, StateObject] => {
    const known = positions.get(position?.file ?? "");
    return [key, known === undefined ? object : { ...object, position: known }];
  });
  return {
    objects: new Map(placed),
    diagnostics: diagnostics.map((diagnostic) => {
      const known = positions.get(diagnostic.file);
      return known === undefined ? diagnostic : { ...diagnostic, file: known.file, line: known.line, column: 1 };
    }),
    omitted,
  };
}
