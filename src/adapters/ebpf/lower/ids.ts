/**
 * Ids: 32-bit numbers from hashes of identities, so that equal rulesets give equal tables on every start, and a small
 * change changes few entries. If two identities collide, the later one takes the next free number; callers must use a
 * fixed order.
 */

/**
 * Returns FNV-1a over UTF-16 code units with murmur3's final mix.
 * @returns an unsigned 32-bit number
 */
export function hashText(text: string, seed = 0x811c9dc5): number {
  let hash = seed;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return mix(hash);
}

export function hashNumber(hash: number, next: number): number {
  return mix(Math.imul(hash, 31) ^ next);
}

function mix(value: number): number {
  let hash = value ^ (value >>> 16);
  hash = Math.imul(hash, 0x85ebca6b);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

export class Ids {
  readonly #used = new Set<number>();
  /**
   * Creates the ids.
   * @param step ids are multiples of it, a power of two: its low bits are free for other uses. Never 0.
   * @param reserved no id
   */
  constructor(
    readonly step: number,
    reserved = 0,
  ) {
    this.#used.add(reserved);
  }

  take(hash: number): number {
    let id = (hash & -this.step) >>> 0;
    while (id === 0 || this.#used.has(id)) id = (id + this.step) >>> 0;
    this.#used.add(id);
    return id;
  }
}
