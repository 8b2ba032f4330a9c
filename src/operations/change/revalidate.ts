/**
 * Objects that were stored or saved, validated again as manifests. A canonical object is a document
 * of its kind; what several of them mean together is known only of all of them.
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

/** Objects and diagnostics are placed where the objects once stood; those without a position at `origin#number`. */
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
