export function makeNpm() {
  throw new Error("not yet");
}
