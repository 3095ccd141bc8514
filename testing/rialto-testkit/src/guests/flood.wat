(component
  (import "rialto:service/context@0.1.0" (instance $context
    (export "time-left-ms" (func (result u64)))))
  (core func $left (canon lower (func $context "time-left-ms")))
  (core module $m
    (import "host" "left" (func $left (result i64)))
    (func (export "run") (loop $again (drop (call $left)) (br $again)))
    (func (export "left") (result i64) (call $left)))
  (core instance $i (instantiate $m (with "host" (instance (export "left" (func $left))))))
  (func $run (canon lift (core func $i "run")))
  (func $left-ms (result u64) (canon lift (core func $i "left")))
  (instance $api
    (export "run" (func $run))
    (export "left-ms" (func $left-ms)))
  (export "rialto:flood/api@0.1.0" (instance $api)))
