(component
  (core module $m
    (memory (export "memory") 1)
    (memory $second 1)
    (table $t 16 4096 funcref)
    (global $mark (mut i64) (i64.const 0))
    (elem declare func $nothing)
    (func $nothing)
    ;; Grows both memories to 8 MiB and the table to 4,096 elements.
    (func $spread
      (drop (memory.grow (i32.sub (i32.const 128) (memory.size))))
      (drop (memory.grow $second (i32.sub (i32.const 128) (memory.size $second))))
      (drop (table.grow $t (ref.null func) (i32.sub (i32.const 4096) (table.size $t)))))
    ;; Writes a secret into every byte, element and global.
    (func $stain
      (call $spread)
      (memory.fill (i32.const 0) (i32.const 0xA5) (i32.const 8388608))
      (memory.fill $second (i32.const 0) (i32.const 0xA5) (i32.const 8388608))
      (table.fill $t (i32.const 0) (ref.func $nothing) (i32.const 4096))
      (global.set $mark (i64.const -1)))
    ;; Counts the words, elements and globals that are not as they should be at birth.
    (func $look (result i64)
      (local $at i32) (local $found i64)
      (call $spread)
      (loop $words
        (local.set $found (i64.add (local.get $found) (i64.add
          (i64.extend_i32_u (i64.ne (i64.load (local.get $at)) (i64.const 0)))
          (i64.extend_i32_u (i64.ne (i64.load $second (local.get $at)) (i64.const 0))))))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br_if $words (i32.lt_u (local.get $at) (i32.const 8388608))))
      (local.set $at (i32.const 0))
      (loop $elements
        (local.set $found (i64.add (local.get $found)
          (i64.extend_i32_u (i32.eqz (ref.is_null (table.get $t (local.get $at)))))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br_if $elements (i32.lt_u (local.get $at) (i32.const 4096))))
      (i64.add (local.get $found) (i64.extend_i32_u (i64.ne (global.get $mark) (i64.const 0)))))
    (func (export "stain") (call $stain) unreachable)
    (func (export "look") (result i64) (call $look))
    (func (export "stain-and-look") (result i64) (call $stain) (call $look)))
  (core instance $i (instantiate $m))
  (func $stain (canon lift (core func $i "stain")))
  (func $look (result u64) (canon lift (core func $i "look")))
  (func $stain-and-look (result u64) (canon lift (core func $i "stain-and-look")))
  (instance $api
    (export "stain" (func $stain))
    (export "look" (func $look))
    (export "stain-and-look" (func $stain-and-look)))
  (export "rialto:leak/api@0.1.0" (instance $api)))
