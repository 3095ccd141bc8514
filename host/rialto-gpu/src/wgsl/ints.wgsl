// Integers of up to 32 bits.
fn i_div(a: i32, b: i32) -> i32 {
  if (b == 0) { return 0; }
  if (b == -1) { return 0 - a; }
  return a / b;
}
fn i_rem(a: i32, b: i32) -> i32 {
  if (b == 0 || b == -1) { return 0; }
  return a % b;
}
fn i_sign(a: i32) -> i32 { return select(select(1, 0, a == 0), -1, a < 0); }
fn i_pow(a: i32, b: i32) -> i32 {
  if (b < 0) {
    if (a == 1) { return 1; }
    if (a == -1) { return select(a, 1, (b & 1) == 0); }
    return 0;
  }
  var base = a;
  var rest = b;
  var all = 1;
  while (rest > 0) {
    if ((rest & 1) == 1) { all = all * base; }
    base = base * base;
    rest = rest >> 1u;
  }
  return all;
}
