// The angle's place within a quarter turn, and which quarter: by Payne and Hanek's method for large
// angles, so that no angle is too large.
struct Angle { r: f32, quarter: u32 }
fn two_over_pi(i: u32) -> u32 {
  switch (i) {
    case 0u: { return 0xa2f9836eu; }
    case 1u: { return 0x4e441529u; }
    case 2u: { return 0xfc2757d1u; }
    case 3u: { return 0xf534ddc0u; }
    case 4u: { return 0xdb629599u; }
    case 5u: { return 0x3c439041u; }
    case 6u: { return 0xfe5163abu; }
    default: { return 0u; }
  }
}
fn wide_product(a: u32, b: u32) -> vec2<u32> {
  let al = a & 0xffffu; let ah = a >> 16u;
  let bl = b & 0xffffu; let bh = b >> 16u;
  let ll = al * bl; let lh = al * bh; let hl = ah * bl;
  let mid = (ll >> 16u) + (lh & 0xffffu) + (hl & 0xffffu);
  return vec2<u32>((mid << 16u) | (ll & 0xffffu), ah * bh + (lh >> 16u) + (hl >> 16u) + (mid >> 16u));
}
fn reduced(x: f32) -> Angle {
  let a = abs(x);
  var out: Angle;
  if (a < 8192.0) {
    let n = round(a * 0.63661977236758134);
    var r = held(fma(n, -1.5703125, a));
    r = held(fma(n, -4.837512969970703125e-4, r));
    r = fma(n, -7.549789954891882e-8, r);
    out.r = r;
    out.quarter = u32(n);
  } else {
    let bits = bitcast<u32>(a);
    let m = (bits & 0x7fffffu) | 0x800000u;
    let skip = i32(bits >> 23u) - 152;
    let first = u32(max(skip, 0));
    let shift = first & 31u;
    var w: array<u32, 4>;
    for (var i = 0u; i < 4u; i++) {
      let at = (first >> 5u) + i;
      w[i] = two_over_pi(at);
      if (shift > 0u) { w[i] = (w[i] << shift) | (two_over_pi(at + 1u) >> (32u - shift)); }
    }
    if (skip < 0) {
      let k = u32(-skip);
      w[2] = (w[2] >> k) | (w[1] << (32u - k));
      w[1] = (w[1] >> k) | (w[0] << (32u - k));
      w[0] = w[0] >> k;
    }
    let p2 = wide_product(m, w[2]);
    let p1 = wide_product(m, w[1]);
    let mid = p1.x + p2.y;
    let top = m * w[0] + p1.y + select(0u, 1u, mid < p1.x);
    var quarter = top >> 30u;
    let high = (top << 2u) | (mid >> 30u);
    let low = mid << 2u;
    var turn = f32(high) * 2.3283064365386963e-10 + f32(low) * 5.421010862427522e-20;
    if (high >= 0x80000000u) {
      quarter += 1u;
      let nh = ~high; let nl = ~low;
      turn = -(f32(nh) * 2.3283064365386963e-10 + f32(nl) * 5.421010862427522e-20);
    }
    out.r = turn * 1.5707963267948966;
    out.quarter = quarter & 3u;
  }
  return out;
}
fn sin_of(r: f32) -> f32 {
  let z = r * r;
  var q = -1.9515295891e-4;
  q = fma(q, z, 8.3321608736e-3);
  q = fma(q, z, -1.6666654611e-1);
  return fma(q * z, r, r);
}
fn cos_of(r: f32) -> f32 {
  let z = r * r;
  var q = 2.443315711809948e-5;
  q = fma(q, z, -1.388731625493765e-3);
  q = fma(q, z, 4.166664568298827e-2);
  return fma(q * z, z, fma(-0.5, z, 1.0));
}
fn sin_(x: f32) -> f32 {
  if ((bitcast<u32>(x) & 0x7fffffffu) >= 0x7f800000u) { return nan(); }
  let t = reduced(x);
  var y = select(sin_of(t.r), cos_of(t.r), (t.quarter & 1u) == 1u);
  y = select(y, -y, (t.quarter & 2u) == 2u);
  return select(y, -y, x < 0.0);
}
fn cos_(x: f32) -> f32 {
  if ((bitcast<u32>(x) & 0x7fffffffu) >= 0x7f800000u) { return nan(); }
  let t = reduced(x);
  let y = select(cos_of(t.r), sin_of(t.r), (t.quarter & 1u) == 1u);
  return select(y, -y, ((t.quarter + 1u) & 2u) == 2u);
}
