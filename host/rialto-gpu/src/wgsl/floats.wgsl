// Elementary functions in f32, after Cephes. Infinities and NaN are made and found by their bits, as
// shader compilers may assume that there are none.
fn is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }
fn from_bits(b: u32) -> f32 { return bitcast<f32>(b | p[0].x); }
fn infinity() -> f32 { return from_bits(0x7f800000u); }
fn nan() -> f32 { return from_bits(0x7fc00000u); }
// The value itself, of which compilers know nothing: some (Mesa's) join what was split for precision.
fn held(x: f32) -> f32 { return bitcast<f32>(bitcast<u32>(x) | p[0].x); }
fn is_minus_inf(x: f32) -> bool { return bitcast<u32>(x) == 0xff800000u; }

fn to_f16(x: f32) -> u32 {
  let b = bitcast<u32>(x);
  let s = (b >> 16u) & 0x8000u;
  let a = b & 0x7fffffffu;
  if (a > 0x7f800000u) { return s | 0x7e00u; }
  if (a >= 0x477ff000u) { return s | 0x7c00u; }
  if (a < 0x38800000u) { return s | (bitcast<u32>(bitcast<f32>(a) + 0.5) - 0x3f000000u); }
  return s | ((a + 0xfffu + ((a >> 13u) & 1u) - 0x38000000u) >> 13u);
}
fn to_bf16(x: f32) -> u32 {
  let b = bitcast<u32>(x);
  if ((b & 0x7fffffffu) > 0x7f800000u) { return (b >> 16u) | 0x40u; }
  return (b + 0x7fffu + ((b >> 16u) & 1u)) >> 16u;
}
fn from_f16(h: u32) -> f32 { return unpack2x16float(h & 0xffffu).x; }
fn from_bf16(h: u32) -> f32 { return bitcast<f32>(h << 16u); }
fn round_f16(x: f32) -> f32 { return from_f16(to_f16(x)); }
fn round_bf16(x: f32) -> f32 { return from_bf16(to_bf16(x)); }

fn max_(a: f32, b: f32) -> f32 { if (a > b || is_nan(a)) { return a; } return b; }
fn min_(a: f32, b: f32) -> f32 { if (a < b || is_nan(a)) { return a; } return b; }
fn relu_(x: f32) -> f32 { if (x < 0.0) { return 0.0; } return x; }
fn sign_(x: f32) -> f32 {
  if (x > 0.0) { return 1.0; }
  if (x < 0.0) { return -1.0; }
  return x;
}

// Two to a whole power from -252 to 254.
fn two_to(n: i32) -> f32 {
  let h = n / 2;
  return bitcast<f32>(u32(h + 127) << 23u) * bitcast<f32>(u32(n - h + 127) << 23u);
}
fn exp_(x: f32) -> f32 {
  if (is_nan(x)) { return x; }
  let c = clamp(x, -104.0, 89.0);
  let n = round(c * 1.44269504088896341);
  var r = held(fma(n, -0.693359375, c));
  r = fma(n, 2.12194440e-4, r);
  var q = 1.9875691500e-4;
  q = fma(q, r, 1.3981999507e-3);
  q = fma(q, r, 8.3334519073e-3);
  q = fma(q, r, 4.1665795894e-2);
  q = fma(q, r, 1.6666665459e-1);
  q = fma(q, r, 5.0000001201e-1);
  let y = fma(q, r * r, r) + 1.0;
  let k = i32(n);
  let h = k / 2;
  return y * bitcast<f32>(u32(h + 127) << 23u) * bitcast<f32>(u32(k - h + 127) << 23u);
}
fn ln_(x: f32) -> f32 {
  if (is_nan(x)) { return x; }
  if (x < 0.0) { return nan(); }
  if (x == 0.0) { return -infinity(); }
  if (bitcast<u32>(x) == 0x7f800000u) { return x; }
  var b = bitcast<u32>(x);
  var e = -126.0;
  if (b < 0x00800000u) { b = bitcast<u32>(x * 16777216.0); e = -150.0; }
  e = e + f32(b >> 23u);
  var m = bitcast<f32>((b & 0x7fffffu) | 0x3f000000u);
  if (m < 0.707106781186547524) { e = e - 1.0; m = m + m; }
  m = m - 1.0;
  let z = m * m;
  var q = 7.0376836292e-2;
  q = fma(q, m, -1.1514610310e-1);
  q = fma(q, m, 1.1676998740e-1);
  q = fma(q, m, -1.2420140846e-1);
  q = fma(q, m, 1.4249322787e-1);
  q = fma(q, m, -1.6668057665e-1);
  q = fma(q, m, 2.0000714765e-1);
  q = fma(q, m, -2.4999993993e-1);
  q = fma(q, m, 3.3333331174e-1);
  var y = m * z * q;
  y = fma(e, -2.12194440e-4, y) - 0.5 * z;
  return fma(e, 0.693359375, m + y);
}
fn sigmoid_(x: f32) -> f32 {
  if (is_nan(x)) { return x; }
  let e = exp_(-abs(x));
  return select(e, 1.0, x >= 0.0) / (1.0 + e);
}
fn silu_(x: f32) -> f32 {
  if (is_minus_inf(x)) { return 0.0; }
  return x * sigmoid_(x);
}
fn tanh_(x: f32) -> f32 {
  if (is_nan(x)) { return x; }
  let a = abs(x);
  if (a < 0.625) {
    let z = x * x;
    var q = -5.70498872745e-3;
    q = fma(q, z, 2.06390887954e-2);
    q = fma(q, z, -5.37397155531e-2);
    q = fma(q, z, 1.33314422036e-1);
    q = fma(q, z, -3.33332819422e-1);
    return fma(q * z, x, x);
  }
  let y = 1.0 - 2.0 / (exp_(2.0 * min(a, 20.0)) + 1.0);
  return select(y, -y, x < 0.0);
}
// The complement of the error function: Numerical Recipes' fit, relative error 1.2e-7.
fn erfc_(x: f32) -> f32 {
  if (is_nan(x)) { return x; }
  let a = min(abs(x), 20.0);
  let t = 1.0 / (1.0 + 0.5 * a);
  var q = 0.17087277;
  q = fma(q, t, -0.82215223);
  q = fma(q, t, 1.48851587);
  q = fma(q, t, -1.13520398);
  q = fma(q, t, 0.27886807);
  q = fma(q, t, -0.18628806);
  q = fma(q, t, 0.09678418);
  q = fma(q, t, 0.37409196);
  q = fma(q, t, 1.00002368);
  q = fma(q, t, -1.26551223);
  // The square in two parts, as its error would be that of the exponential.
  let high = bitcast<f32>(bitcast<u32>(a) & 0xfffff000u);
  let low = held(a - high);
  let y = t * exp_(-high * high) * exp_(q - low * (a + high));
  return select(y, 2.0 - y, x < 0.0);
}
fn erf_(x: f32) -> f32 {
  if (abs(x) < 0.5) {
    let z = x * x;
    var q = 5.22397762e-3;
    q = fma(q, z, -2.68661706e-2);
    q = fma(q, z, 1.12837917e-1);
    q = fma(q, z, -3.76126389e-1);
    q = fma(q, z, 1.12837917);
    return x * q;
  }
  return 1.0 - erfc_(x);
}
fn gelu_(x: f32) -> f32 {
  if (is_minus_inf(x)) { return 0.0; }
  return 0.5 * x * erfc_(x * -0.70710678118654752);
}
fn gelu_tanh_(x: f32) -> f32 {
  if (is_minus_inf(x)) { return 0.0; }
  if (x < -1.0e4) { return -0.0; }
  if (x > 1.0e4) { return x; }
  return x * sigmoid_(1.5957691216057308 * (x + 0.044715 * x * x * x));
}
fn pow_(x: f32, y: f32) -> f32 {
  if (y == 0.0 || x == 1.0) { return 1.0; }
  if (is_nan(x) || is_nan(y)) { return nan(); }
  let whole = floor(y) == y;
  let odd = whole && abs(y) < 16777216.0 && floor(y * 0.5) * 2.0 != y;
  if (abs(x) == 1.0) {
    if (!whole) { return nan(); }
    return select(1.0, -1.0, odd);
  }
  if (x < 0.0 && !is_minus_inf(x) && !whole) { return nan(); }
  let size = exp_(y * ln_(abs(x)));
  return select(size, -size, odd && (bitcast<u32>(x) >> 31u) == 1u);
}
// The exact remainder, digit by digit, with the sign of x.
fn rem_(x: f32, y: f32) -> f32 {
  let a = bitcast<u32>(x) & 0x7fffffffu;
  let b = bitcast<u32>(y) & 0x7fffffffu;
  if (a >= 0x7f800000u || b > 0x7f800000u || b == 0u) { return nan(); }
  if (a < b) { return x; }
  let sign = bitcast<u32>(x) & 0x80000000u;
  var ea = i32(a >> 23u);
  let eb = i32(b >> 23u);
  var ma = a & 0x7fffffu;
  var mb = b & 0x7fffffu;
  if (ea == 0) { ea = 1; } else { ma |= 0x800000u; }
  var e = eb;
  if (eb == 0) { e = 1; } else { mb |= 0x800000u; }
  loop {
    if (ma >= mb) { ma -= mb; }
    if (ea == e || ma == 0u) { break; }
    ma <<= 1u;
    ea -= 1;
  }
  if (ma == 0u) { return bitcast<f32>(sign); }
  let shift = min(i32(countLeadingZeros(ma)) - 8, e - 1);
  ma <<= u32(max(shift, 0));
  let exponent = select(0u, u32(e - max(shift, 0)), ma >= 0x800000u);
  return bitcast<f32>(sign | (ma & 0x7fffffu) | (exponent << 23u));
}
fn to_i32(x: f32) -> i32 {
  if (is_nan(x)) { return 0; }
  if (x >= 2147483648.0) { return 2147483647; }
  if (x <= -2147483648.0) { return i32(-2147483647) - 1; }
  return i32(x);
}
fn sqrt_(x: f32) -> f32 {
  if (x == 0.0 || is_nan(x)) { return x; }
  if (x < 0.0) { return nan(); }
  return sqrt(x);
}
fn rsqrt_(x: f32) -> f32 {
  if (is_nan(x)) { return x; }
  if (x == 0.0) { return from_bits(0x7f800000u | (bitcast<u32>(x) & 0x80000000u)); }
  if (x < 0.0) { return nan(); }
  if (bitcast<u32>(x) == 0x7f800000u) { return 0.0; }
  return 1.0 / sqrt(x);
}
