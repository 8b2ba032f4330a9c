/** Replaces the user and the password of each URL in a text with `…`. */
export function maskCredentials(text: string): string {
  return text.replace(/\/\/[^/\s]*@/g, "//…@");
}
