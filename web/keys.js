// Keys as etcd's JSON door has them: base64 of their bytes.
const text = new TextEncoder(),
  bytes = new TextDecoder();
export const encode = (s) => btoa(String.fromCharCode(...text.encode(s)));
export const decode = (s) => bytes.decode(Uint8Array.from(atob(s || ""), (c) => c.charCodeAt(0)));

// The first key behind all that begin with p (etcd's way to say a prefix).
export function prefixEnd(p) {
  const b = [...text.encode(p)];
  while (b.length && b[b.length - 1] === 255) b.pop();
  if (!b.length) return btoa("\0");
  b[b.length - 1]++;
  return btoa(String.fromCharCode(...b));
}
