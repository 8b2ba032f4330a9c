export function makeRpm() {
  throw new Error("not yet");
}
