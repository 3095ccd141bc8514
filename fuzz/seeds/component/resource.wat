(component
  (type $r' (resource (rep i32))) (export $r "thing" (type $r'))
  (core module $m (func (export "f") (param i32)))
  (core instance $i (instantiate $m))
  (func (export "f") (param "it" (own $r)) (canon lift (core func $i "f"))))
