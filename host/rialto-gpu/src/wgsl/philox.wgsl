// Philox4x32-10: random words from a counter and a key.
fn philox_product(a: u32, b: u32) -> vec2<u32> {
  let al = a & 0xffffu; let ah = a >> 16u;
  let bl = b & 0xffffu; let bh = b >> 16u;
  let ll = al * bl; let lh = al * bh; let hl = ah * bl;
  let mid = (ll >> 16u) + (lh & 0xffffu) + (hl & 0xffffu);
  return vec2<u32>((mid << 16u) | (ll & 0xffffu), ah * bh + (lh >> 16u) + (hl >> 16u) + (mid >> 16u));
}
fn philox(start: vec4<u32>, seed: vec2<u32>) -> vec4<u32> {
  var c = start;
  var k = seed;
  for (var i = 0; i < 10; i++) {
    let a = philox_product(c.x, 0xd2511f53u);
    let b = philox_product(c.z, 0xcd9e8d57u);
    c = vec4<u32>(b.y ^ c.y ^ k.x, b.x, a.y ^ c.w ^ k.y, a.x);
    k = vec2<u32>(k.x + 0x9e3779b9u, k.y + 0xbb67ae85u);
  }
  return c;
}
// The logarithm of (w + 1) / 2^32, exact near one.
fn ln_chance(w: u32) -> f32 {
  let rest = ~w;
  if (rest < 0x04000000u) {
    let x = f32(rest) * -2.3283064365386963e-10;
    return x * (1.0 + x * (-0.5 + x * (0.333333333 - 0.25 * x)));
  }
  return ln_((f32(w) + 1.0) * 2.3283064365386963e-10);
}
// Cosine and sine of w / 2^32 of a turn, which is exact.
fn turned(w: u32) -> vec2<f32> {
  let eighth = w + 0x20000000u;
  let quarter = eighth >> 30u;
  let r = f32(bitcast<i32>(w - (quarter << 30u))) * 1.4629180792671596e-9;
  let z = r * r;
  let s = r + r * z * (-1.6666654611e-1 + z * (8.3321608736e-3 - z * 1.9515295891e-4));
  let c = 1.0 - 0.5 * z + z * z * (4.166664568298827e-2 + z * (-1.388731625493765e-3 + z * 2.443315711809948e-5));
  switch (quarter) {
    case 0u: { return vec2<f32>(c, s); }
    case 1u: { return vec2<f32>(-s, c); }
    case 2u: { return vec2<f32>(-c, -s); }
    default: { return vec2<f32>(s, -c); }
  }
}
