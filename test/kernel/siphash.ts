/** SipHash-2-4, from its paper (Aumasson, Bernstein 2012, section 2): apart from that of native/bpf. */
const MASK = (1n << 64n) - 1n;
const rotate = (word: bigint, bits: bigint): bigint => ((word << bits) | (word >> (64n - bits))) & MASK;

/** @param key 16 bytes */
export function siphash(message: Buffer, key: Buffer): Buffer {
  const [k0, k1] = [key.readBigUInt64LE(0), key.readBigUInt64LE(8)];
  const v: [bigint, bigint, bigint, bigint] = [
    k0 ^ 0x736f6d6570736575n,
    k1 ^ 0x646f72616e646f6dn,
    k0 ^ 0x6c7967656e657261n,
    k1 ^ 0x7465646279746573n,
  ];
  const rounds = (count: number): void => {
    for (let round = 0; round < count; round++) {
      v[0] = (v[0] + v[1]) & MASK;
      v[2] = (v[2] + v[3]) & MASK;
      v[1] = rotate(v[1], 13n) ^ v[0];
      v[3] = rotate(v[3], 16n) ^ v[2];
      v[0] = rotate(v[0], 32n);
      v[2] = (v[2] + v[1]) & MASK;
      v[0] = (v[0] + v[3]) & MASK;
      v[1] = rotate(v[1], 17n) ^ v[2];
      v[3] = rotate(v[3], 21n) ^ v[0];
      v[2] = rotate(v[2], 32n);
    }
  };
  const padded = Buffer.alloc((Math.floor(message.length / 8) + 1) * 8);
  message.copy(padded);
  padded.writeUInt8(message.length & 255, padded.length - 1);
  for (let at = 0; at < padded.length; at += 8) {
    const word = padded.readBigUInt64LE(at);
    v[3] ^= word;
    rounds(2);
    v[0] ^= word;
  }
  v[2] ^= 0xffn;
  rounds(4);
  const result = Buffer.alloc(8);
  result.writeBigUInt64LE(v[0] ^ v[1] ^ v[2] ^ v[3]);
  return result;
}
