(component
  (type $e' (enum "red" "light-blue")) (export $e "colour" (type $e'))
  (type $v' (variant (case "point") (case "circle" f64))) (export $v "shape" (type $v'))
  (type $r' (record (field "a-b" (option $e)) (field "c" (list (tuple $v string))))) (export $r "all" (type $r'))
  (core module $m
    (@custom "rialto:wit" "package a:a;\nworld w {\n/// A colour.\nenum colour { red, light-blue }\nexport f: func(it: list<u8>);\n}\n")
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0)
    (func (export "f") (param i32 i32) (result i32) i32.const 0))
  (core instance $i (instantiate $m))
  (func (export "f") (param "it" (list u8)) (result (result $r (error string)))
    (canon lift (core func $i "f") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))
