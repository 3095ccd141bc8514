// 64-bit integers in two words, the low one first.
fn l_of(a: i32) -> vec2<u32> { return vec2<u32>(bitcast<u32>(a), bitcast<u32>(a >> 31u)); }
fn l_add(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let lo = a.x + b.x;
  return vec2<u32>(lo, a.y + b.y + select(0u, 1u, lo < a.x));
}
fn l_neg(a: vec2<u32>) -> vec2<u32> { return l_add(~a, vec2<u32>(1u, 0u)); }
fn l_sub(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> { return l_add(a, l_neg(b)); }
fn l_wide(a: u32, b: u32) -> vec2<u32> {
  let al = a & 0xffffu; let ah = a >> 16u;
  let bl = b & 0xffffu; let bh = b >> 16u;
  let ll = al * bl; let lh = al * bh; let hl = ah * bl;
  let mid = (ll >> 16u) + (lh & 0xffffu) + (hl & 0xffffu);
  return vec2<u32>((mid << 16u) | (ll & 0xffffu), ah * bh + (lh >> 16u) + (hl >> 16u) + (mid >> 16u));
}
fn l_mul(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let w = l_wide(a.x, b.x);
  return vec2<u32>(w.x, w.y + a.x * b.y + a.y * b.x);
}
fn l_eq(a: vec2<u32>, b: vec2<u32>) -> bool { return a.x == b.x && a.y == b.y; }
fn l_lt(a: vec2<u32>, b: vec2<u32>) -> bool {
  if (a.y == b.y) { return a.x < b.x; }
  return bitcast<i32>(a.y) < bitcast<i32>(b.y);
}
fn l_below(a: vec2<u32>, b: vec2<u32>) -> bool {
  if (a.y == b.y) { return a.x < b.x; }
  return a.y < b.y;
}
fn l_minus(a: vec2<u32>) -> bool { return (a.y >> 31u) == 1u; }
fn l_abs(a: vec2<u32>) -> vec2<u32> { if (l_minus(a)) { return l_neg(a); } return a; }
fn l_sign(a: vec2<u32>) -> vec2<u32> {
  if (l_minus(a)) { return vec2<u32>(0xffffffffu, 0xffffffffu); }
  return vec2<u32>(select(1u, 0u, (a.x | a.y) == 0u), 0u);
}
fn l_relu(a: vec2<u32>) -> vec2<u32> { if (l_minus(a)) { return vec2<u32>(0u, 0u); } return a; }
fn l_min(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> { if (l_lt(b, a)) { return b; } return a; }
fn l_max(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> { if (l_lt(a, b)) { return b; } return a; }
// Quotient and remainder of sizes, bit by bit.
fn l_divide(a: vec2<u32>, b: vec2<u32>) -> vec4<u32> {
  var q = vec2<u32>(0u, 0u);
  var r = vec2<u32>(0u, 0u);
  for (var i = 63; i >= 0; i--) {
    let word = select(a.x, a.y, i > 31);
    let bit = (word >> (u32(i) & 31u)) & 1u;
    let carry = r.y >> 31u;
    r = vec2<u32>((r.x << 1u) | bit, (r.y << 1u) | (r.x >> 31u));
    if (carry == 1u || !l_below(r, b)) {
      r = l_sub(r, b);
      if (i > 31) { q.y |= 1u << (u32(i) & 31u); } else { q.x |= 1u << u32(i); }
    }
  }
  return vec4<u32>(q, r);
}
fn l_div(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  if ((b.x | b.y) == 0u) { return b; }
  let q = l_divide(l_abs(a), l_abs(b)).xy;
  if (l_minus(a) != l_minus(b)) { return l_neg(q); }
  return q;
}
fn l_rem(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  if ((b.x | b.y) == 0u) { return b; }
  let r = l_divide(l_abs(a), l_abs(b)).zw;
  if (l_minus(a)) { return l_neg(r); }
  return r;
}
fn l_pow(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let one = vec2<u32>(1u, 0u);
  if (l_minus(b)) {
    if (l_eq(a, one)) { return one; }
    if ((a.x & a.y) == 0xffffffffu) { if ((b.x & 1u) == 0u) { return one; } return a; }
    return vec2<u32>(0u, 0u);
  }
  var base = a;
  var rest = b;
  var all = one;
  while ((rest.x | rest.y) != 0u) {
    if ((rest.x & 1u) == 1u) { all = l_mul(all, base); }
    base = l_mul(base, base);
    rest = vec2<u32>((rest.x >> 1u) | (rest.y << 31u), rest.y >> 1u);
  }
  return all;
}
// The nearest float, halves to even.
fn l_float(a: vec2<u32>) -> f32 {
  let s = l_abs(a);
  var y: f32;
  if (s.y == 0u) {
    y = l_small(s.x, 0u);
  } else {
    let shift = 32u - countLeadingZeros(s.y);
    var w = s.y;
    var lost = 0u;
    if (shift < 32u) { w = (s.y << (32u - shift)) | (s.x >> shift); lost = s.x << (32u - shift); } else { lost = s.x; }
    y = l_small(w, lost) * bitcast<f32>((shift + 127u) << 23u);
  }
  return select(y, -y, l_minus(a));
}
// A word as a float; `lost` says whether digits below it are not zero.
fn l_small(w: u32, lost: u32) -> f32 {
  if (w < 0x1000000u) { return f32(w); }
  let k = 8u - countLeadingZeros(w);
  let cut = w & ((1u << k) - 1u);
  let half = 1u << (k - 1u);
  var m = w >> k;
  if (cut > half || (cut == half && (lost != 0u || (m & 1u) == 1u))) { m += 1u; }
  return f32(m) * bitcast<f32>((k + 127u) << 23u);
}
fn l_from(x: f32) -> vec2<u32> {
  let b = bitcast<u32>(x);
  let e = i32((b >> 23u) & 0xffu) - 150;
  if ((b & 0x7fffffffu) > 0x7f800000u) { return vec2<u32>(0u, 0u); }
  if (e > 39) {
    if ((b >> 31u) == 1u) { return vec2<u32>(0u, 0x80000000u); }
    return vec2<u32>(0xffffffffu, 0x7fffffffu);
  }
  let m = (b & 0x7fffffu) | 0x800000u;
  var l = vec2<u32>(m, 0u);
  if (e < -23) { return vec2<u32>(0u, 0u); }
  if (e < 0) {
    l.x = m >> u32(-e);
  } else if (e < 32) {
    if (e > 0) { l = vec2<u32>(m << u32(e), m >> (32u - u32(e))); }
  } else {
    l = vec2<u32>(0u, m << u32(e - 32));
  }
  if ((b >> 31u) == 1u) { return l_neg(l); }
  return l;
}
