//! Writing a kernel: its source, its numbers and its buffers.
//!
//! Numbers (extents, strides, attributes) are never part of the source but read from `p`, so that one
//! compiled kernel serves all sizes. `p[0].x` is always zero: see `floats.wgsl`. Tensors are read as
//! registers: f32 for all floats, i32 for all integers of up to 32 bits and booleans, two words for
//! 64-bit integers.

use std::fmt::Write as _;

use rialto_compute::{Element, ops::Spec};

use crate::pool::Part;

/// A tensor on the device.
#[derive(Debug, Clone)]
pub(crate) struct Operand {
    pub spec: Spec,
    pub part: Part,
}

/// A kernel that is being written.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// The operation, for messages.
    pub op: &'static str,
    /// Functions beside those for reading and writing.
    pub text: String,
    /// Workgroups on each axis.
    pub groups: [u32; 3],
    declarations: String,
    params: Vec<u32>,
    bindings: Vec<Part>,
}

/// A kernel that is written.
#[derive(Debug)]
pub(crate) struct Written {
    pub op: &'static str,
    pub source: String,
    pub params: Vec<u32>,
    pub bindings: Vec<Part>,
    pub groups: [u32; 3],
}

impl Kernel {
    pub(crate) fn new(op: &'static str) -> Self {
        Self {
            op,
            text: String::new(),
            groups: [1; 3],
            declarations: String::new(),
            params: vec![0],
            bindings: Vec::new(),
        }
    }

    /// A number, as an expression of type u32.
    pub(crate) fn word(&mut self, value: u32) -> String {
        let at = self.params.len();
        self.params.push(value);
        let lane = match at % 4 {
            0 => 'x',
            1 => 'y',
            2 => 'z',
            _ => 'w',
        };
        format!("p[{}].{lane}", at / 4)
    }

    /// A size, as an expression of type u32.
    pub(crate) fn size(&mut self, value: usize) -> String {
        self.word(word(value))
    }

    /// A float, as an expression of type f32.
    pub(crate) fn float(&mut self, value: f32) -> String {
        let word = self.word(value.to_bits());
        format!("bitcast<f32>({word})")
    }

    /// Binds a tensor to read with `load{n}(place)`; returns n.
    pub(crate) fn read(&mut self, operand: &Operand) -> usize {
        let n = self.bindings.len();
        let element = operand.spec.element();
        self.bind(&operand.part, "read", cell(element));
        let body = match element {
            Element::F32 | Element::I32 | Element::I64 => format!("return b{n}[i];"),
            Element::F16 => format!("return from_f16(b{n}[i >> 1u] >> ((i & 1u) << 4u));"),
            Element::Bf16 => {
                format!("return from_bf16((b{n}[i >> 1u] >> ((i & 1u) << 4u)) & 0xffffu);")
            }
            Element::I8 => {
                format!("return extractBits(bitcast<i32>(b{n}[i >> 2u]), (i & 3u) << 3u, 8u);")
            }
            Element::U8 | Element::Bool => {
                format!("return i32(extractBits(b{n}[i >> 2u], (i & 3u) << 3u, 8u));")
            }
        };
        let register = register(element);
        self.declare(&format!("fn load{n}(i: u32) -> {register} {{ {body} }}\n"));
        n
    }

    /// Binds a tensor whose cells the kernel reads by itself, as an array `b{n}`; returns n.
    pub(crate) fn read_as(&mut self, part: &Part, cell: &str) -> usize {
        self.bind(part, "read", cell)
    }

    /// Binds a buffer to write, as an array `b{n}`; returns n.
    pub(crate) fn write(&mut self, part: &Part, cell: &str) -> usize {
        self.bind(part, "read_write", cell)
    }

    fn bind(&mut self, part: &Part, access: &str, cell: &str) -> usize {
        let n = self.bindings.len();
        self.bindings.push(part.clone());
        let binding = n + 1;
        self.declare(&format!(
            "@group(0) @binding({binding}) var<storage, {access}> b{n}: array<{cell}>;\n"
        ));
        n
    }

    pub(crate) fn declare(&mut self, text: &str) {
        self.declarations.push_str(text);
    }

    pub(crate) fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// The kernel, with `body` as its entry, in workgroups of so many invocations. The body sees
    /// `group` (counted over the first two axes), `layer` (the third), `lane` and `p`.
    pub(crate) fn finish(self, lanes: u32, body: &str) -> Written {
        let mut source =
            String::from("@group(0) @binding(0) var<uniform> p: array<vec4<u32>, 32>;\n");
        source.push_str(include_str!("wgsl/floats.wgsl"));
        let code = format!("{}{}{body}", self.declarations, self.text);
        for (mark, library) in [
            ("l_", include_str!("wgsl/longs.wgsl")),
            ("i_", include_str!("wgsl/ints.wgsl")),
            ("sin_(", include_str!("wgsl/angles.wgsl")),
            ("cos_(", include_str!("wgsl/angles.wgsl")),
        ] {
            if code.contains(mark) && !source.contains(library) {
                source.push_str(library);
            }
        }
        source.push_str(&self.declarations);
        source.push_str(&self.text);
        let _ = write!(
            source,
            "@compute @workgroup_size({lanes}) fn main(@builtin(workgroup_id) at: vec3<u32>, \
             @builtin(num_workgroups) among: vec3<u32>, @builtin(local_invocation_index) lane: u32) {{\n\
             let group = at.y * among.x + at.x + p[0].x;\nlet layer = at.z;\n{body}\n}}\n"
        );
        Written {
            op: self.op,
            source,
            params: self.params,
            bindings: self.bindings,
            groups: self.groups,
        }
    }
}

/// So many workgroups, over two axes; a few may be too many.
pub(crate) fn spread(count: usize) -> [u32; 3] {
    let count = word(count.max(1));
    let rows = count.div_ceil(GROUPS_MAX);
    [count.div_ceil(rows), rows, 1]
}

/// A size as a word; what is larger cannot have been allocated.
pub(crate) fn word(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// The type of an element in a register.
pub(crate) const fn register(element: Element) -> &'static str {
    match element {
        Element::F32 | Element::F16 | Element::Bf16 => "f32",
        Element::I32 | Element::I8 | Element::U8 | Element::Bool => "i32",
        Element::I64 => "vec2<u32>",
    }
}

/// The element type that is as wide as an element's register.
pub(crate) const fn wide(element: Element) -> Element {
    match element {
        Element::F32 | Element::F16 | Element::Bf16 => Element::F32,
        Element::I32 | Element::I8 | Element::U8 | Element::Bool => Element::I32,
        Element::I64 => Element::I64,
    }
}

/// The type of a cell of a buffer.
pub(crate) const fn cell(element: Element) -> &'static str {
    match element {
        Element::F32 => "f32",
        Element::I32 => "i32",
        Element::I64 => "vec2<u32>",
        Element::F16 | Element::Bf16 | Element::I8 | Element::U8 | Element::Bool => "u32",
    }
}

/// How many elements a cell holds.
pub(crate) const fn packed(element: Element) -> usize {
    match element {
        Element::F32 | Element::I32 | Element::I64 => 1,
        Element::F16 | Element::Bf16 => 2,
        Element::I8 | Element::U8 | Element::Bool => 4,
    }
}

/// A register as bits of a cell, rounded or wrapped.
pub(crate) fn stored(element: Element, value: &str) -> String {
    match element {
        Element::F32 | Element::I32 | Element::I64 => value.to_owned(),
        Element::F16 => format!("to_f16({value})"),
        Element::Bf16 => format!("to_bf16({value})"),
        Element::I8 | Element::U8 | Element::Bool => format!("(bitcast<u32>({value}) & 0xffu)"),
    }
}

/// The most workgroups on an axis.
const GROUPS_MAX: u32 = 32768;
/// The numbers that a kernel can have.
pub(crate) const PARAMS_MAX: usize = 128;
