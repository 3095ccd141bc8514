(component
  (core module $m (func (export "f") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))
  (core instance $i (instantiate $m))
  (func (export "add-both") (param "left-one" u32) (param "right" s8) (result u32) (canon lift (core func $i "f"))))
