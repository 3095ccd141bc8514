//! Kernels in the order in which they run, handed to the device in bounded portions.
//!
//! What a portion uses stays allocated until the portion is handed over; from then on the device's
//! own order sees to it that memory is not written too early. Between portions the run looks whether
//! it was cancelled or is late. Non-goals: what the kernels are.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use rialto_compute::{
    Element,
    ops::{Cancel, EvalError, Spec},
};

use crate::{
    kernel::{Kernel, Operand, PARAMS_MAX, Written, cell, packed, register, spread, stored},
    link::{Link, failed},
    pool::Part,
    status::Check,
    submit::{Item, submit},
};

/// A run's kernels.
pub(crate) struct Stream<'a> {
    pub link: &'a Arc<Link>,
    cancel: &'a Cancel,
    pub deadline: Instant,
    items: Vec<Item>,
    params: Vec<u8>,
    /// Multiplications of the portion that is being made.
    work: u64,
    /// Bytes that the portion keeps.
    kept: u64,
    submitted: VecDeque<wgpu::SubmissionIndex>,
    pub checks: Vec<Check>,
}

impl<'a> Stream<'a> {
    pub(crate) const fn new(link: &'a Arc<Link>, cancel: &'a Cancel, deadline: Instant) -> Self {
        Self {
            link,
            cancel,
            deadline,
            items: Vec::new(),
            params: Vec::new(),
            work: 0,
            kept: 0,
            submitted: VecDeque::new(),
            checks: Vec::new(),
        }
    }

    /// Memory for a result. If there is none, what the portion keeps is let go first.
    pub(crate) fn allocate(&mut self, op: &'static str, bytes: usize) -> Result<Part, EvalError> {
        let part = match self.link.allocate(op, bytes) {
            Err(EvalError::Memory { .. }) if !self.items.is_empty() => {
                self.flush()?;
                self.link.allocate(op, bytes)?
            }
            part => part?,
        };
        self.kept = self.kept.saturating_add(part.memory.size());
        Ok(part)
    }

    /// Memory with these bytes in it.
    pub(crate) fn upload(&mut self, op: &'static str, bytes: &[u8]) -> Result<Part, EvalError> {
        let part = self.allocate(op, bytes.len())?;
        self.link.fill(op, &part, bytes)?;
        Ok(part)
    }

    /// Adds a kernel.
    pub(crate) fn add(&mut self, written: Written) -> Result<(), EvalError> {
        if written.params.len() > PARAMS_MAX {
            return Err(failed(written.op, "it has too many numbers".to_owned()));
        }
        let pipeline = self.link.pipeline(written.op, written.source)?;
        let params_at = u64::try_from(self.params.len()).unwrap_or(u64::MAX);
        for word in &written.params {
            self.params.extend(word.to_le_bytes());
        }
        let missing = PARAMS_MAX.saturating_sub(written.params.len()) * 4;
        self.params.extend(std::iter::repeat_n(0, missing));
        self.items.push(Item::Kernel {
            pipeline,
            bindings: written.bindings,
            params_at,
            groups: written.groups,
        });
        if self.items.len() >= ITEMS_MAX {
            self.flush()?;
        }
        Ok(())
    }

    /// Adds a copy.
    pub(crate) fn copy(&mut self, from: &Part, to: &Part, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).next_multiple_of(4);
        self.items.push(Item::Copy {
            from: from.clone(),
            to: to.clone(),
            bytes,
        });
    }

    /// Notes what the next kernels take, and hands over what was before if that is enough.
    pub(crate) fn weigh(&mut self, multiply_adds: u64) -> Result<(), EvalError> {
        if self.cancel.is_cancelled() {
            return Err(EvalError::Cancelled);
        }
        let limit = if self.link.is_software() {
            WORK_MAX / 64
        } else {
            WORK_MAX
        };
        self.work = self.work.saturating_add(multiply_adds);
        if self.work > limit || self.kept > KEPT_MAX {
            self.flush()?;
            self.work = multiply_adds;
        }
        Ok(())
    }

    /// Hands over what there is; waits while too much is handed over.
    pub(crate) fn flush(&mut self) -> Result<(), EvalError> {
        let items = std::mem::take(&mut self.items);
        let params = std::mem::take(&mut self.params);
        (self.work, self.kept) = (0, 0);
        if items.is_empty() {
            return Ok(());
        }
        let numbers = self.link.allocate_numbers(params.len())?;
        self.link.fill("parameters", &numbers, &params)?;
        let link = self.link;
        let submission = link.guarded("submission", || submit(link, &items, &numbers))?;
        self.submitted.push_back(submission);
        while self.submitted.len() > PORTIONS_MAX {
            if let Some(first) = self.submitted.pop_front() {
                self.link.wait("run", first, self.deadline)?;
            }
        }
        if self.cancel.is_cancelled() {
            return Err(EvalError::Cancelled);
        }
        Ok(())
    }

    /// Hands over and waits until all is done.
    pub(crate) fn finish(&mut self) -> Result<(), EvalError> {
        self.flush()?;
        if let Some(last) = self.submitted.back().cloned() {
            self.link.wait("run", last, self.deadline)?;
            self.submitted.clear();
        }
        Ok(())
    }

    /// Forgets what is not handed over and waits for the rest: who leaves early leaves no work behind that
    /// others would wait for.
    pub(crate) fn abandon(&mut self) {
        self.items.clear();
        if let Some(last) = self.submitted.pop_back()
            && let Err(error) = self
                .link
                .wait("run", last, Instant::now() + ABANDON_TIME_MAX)
        {
            tracing::warn!(%error, "work of a run that ended early is still on the graphics processor");
        }
    }

    /// A tensor whose element at each place is what `value(i)` gives, which `write` adds to the kernel.
    pub(crate) fn map(
        &mut self,
        op: &'static str,
        result: &Spec,
        write: impl FnOnce(&mut Kernel),
    ) -> Result<Operand, EvalError> {
        let part = self.allocate(op, result.bytes())?;
        let elements = result.elements();
        if elements > 0 {
            let element = result.element();
            let per = packed(element);
            let mut kernel = Kernel::new(op);
            let n = kernel.size(elements);
            write(&mut kernel);
            let out = kernel.write(&part, cell(element));
            let cells = elements.div_ceil(per);
            kernel.groups = spread(cells.div_ceil(256));
            let mut body = format!(
                "let w = group * 256u + lane;\nlet first = w * {per}u;\nif (first >= {n}) {{ return; }}\n"
            );
            if per == 1 {
                body.push_str(&format!("b{out}[w] = value(w);\n"));
            } else {
                body.push_str("var word = 0u;\n");
                for k in 0..per {
                    let (bits, shift) = (
                        stored(element, &format!("value(first + {k}u)")),
                        32 / per * k,
                    );
                    body.push_str(&format!(
                        "if (first + {k}u < {n}) {{ word |= {bits} << {shift}u; }}\n"
                    ));
                }
                body.push_str(&format!("b{out}[w] = word;\n"));
            }
            self.add(kernel.finish(256, &body))?;
        }
        Ok(Operand {
            spec: result.clone(),
            part,
        })
    }

    /// A tensor in registers' own type (f32, i32 or i64), in the element type asked for.
    pub(crate) fn narrowed(
        &mut self,
        op: &'static str,
        wide: Operand,
        element: Element,
    ) -> Result<Operand, EvalError> {
        if wide.spec.element() == element {
            return Ok(wide);
        }
        let result = wide.spec.with_element(element)?;
        let register = register(element);
        self.map(op, &result, |kernel| {
            let n = kernel.read(&wide);
            kernel.push(&format!(
                "fn value(i: u32) -> {register} {{ return load{n}(i); }}\n"
            ));
        })
    }
}

/// Kernels in a portion.
const ITEMS_MAX: usize = 128;
/// Portions handed over and not done.
const PORTIONS_MAX: usize = 2;
/// How long work that nobody wants any more is waited for.
const ABANDON_TIME_MAX: Duration = Duration::from_secs(10);
/// Multiplications in a portion, unless one kernel has more: some tens of milliseconds.
const WORK_MAX: u64 = 1 << 37;
/// Bytes that a portion keeps before it is handed over.
const KEPT_MAX: u64 = 1 << 30;
