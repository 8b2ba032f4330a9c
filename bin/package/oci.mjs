export function makeOci() {
  throw new Error("not yet");
}
