//! What kernels report: indices that point outside.
//!
//! Kernels cannot fail. Before indices are used a kernel looks for the first that is outside; what it
//! finds is read at the run's end and becomes the run's error. Until then such indices read or write
//! nothing. Non-goals: errors of the device itself (`link`).

use rialto_compute::{Element, ops::EvalError};

use crate::{
    kernel::{Kernel, Operand, spread},
    link::failed,
    pool::Part,
    stream::Stream,
};

/// A look for indices outside.
#[derive(Debug)]
pub(crate) struct Check {
    op: &'static str,
    axis: usize,
    extent: usize,
    found: Part,
}

impl Stream<'_> {
    /// Looks for indices outside of an axis's extent.
    pub(crate) fn check(
        &mut self,
        op: &'static str,
        indices: &Operand,
        (axis, extent): (usize, usize),
    ) -> Result<(), EvalError> {
        let count = indices.spec.elements();
        if count == 0 {
            return Ok(());
        }
        let found = self.upload(op, &[0xff; 16])?;
        let long = indices.spec.element() == Element::I64;
        let outside = if long {
            "let low = l_neg(vec2<u32>(extent, 0u));
             let outside = l_lt(v, low) || !l_lt(v, vec2<u32>(extent, 0u));"
        } else {
            "let outside = select(bitcast<u32>(v) >= extent, bitcast<u32>(-v) > extent, v < 0);"
        };
        let mut kernel = Kernel::new(op);
        let (n, extent_text) = (kernel.size(count), kernel.size(extent));
        let from = kernel.read(indices);
        let to = kernel.write(&found, "atomic<u32>");
        kernel.groups = spread(count.div_ceil(256));
        let body = format!(
            "let i = group * 256u + lane;\nif (i >= {n}) {{ return; }}\nlet extent = {extent_text};\n\
             let v = load{from}(i);\n{outside}\nif (outside) {{ atomicMin(&b{to}[0], i); }}\n"
        );
        self.add(kernel.finish(256, &body))?;
        let mut kernel = Kernel::new(op);
        let from = kernel.read(indices);
        let to = kernel.write(&found, "u32");
        let value = if long { "v" } else { "l_of(v)" };
        let body = format!(
            "let i = b{to}[0];\nif (lane == 0u && group == 0u && i != 0xffffffffu) {{\n\
             let v = load{from}(i);\nlet w = {value};\nb{to}[1] = w.x;\nb{to}[2] = w.y;\n}}\n"
        );
        self.add(kernel.finish(1, &body))?;
        self.checks.push(Check {
            op,
            axis,
            extent,
            found,
        });
        Ok(())
    }

    /// The first error that was found. What was handed over is done after this.
    pub(crate) fn verdict(&mut self) -> Result<(), EvalError> {
        self.flush()?;
        for check in std::mem::take(&mut self.checks) {
            let words = self.link.read(check.op, &check.found, 12, self.deadline)?;
            let [found, low, high] = *words.as_chunks::<4>().0 else {
                return Err(failed(check.op, "what was found is too short".to_owned()));
            };
            if u32::from_le_bytes(found) != u32::MAX {
                let ([a, b, c, d], [e, f, g, h]) = (low, high);
                return Err(EvalError::Index {
                    op: check.op,
                    index: i64::from_le_bytes([a, b, c, d, e, f, g, h]),
                    axis: check.axis,
                    extent: check.extent,
                });
            }
        }
        Ok(())
    }
}
